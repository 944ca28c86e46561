"""Base class of handlers that decode images with NVIDIA DALI."""

from tsl.backend.handlers.dali_handler import DALIHandler

__all__ = ["DALIHandler"]
