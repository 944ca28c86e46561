"""Base classes of very old handlers."""

from . import model_service

__all__ = ["model_service"]
