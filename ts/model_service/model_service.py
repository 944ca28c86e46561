"""Base classes of very old handlers."""

from tsl.backend.model_service import ModelService, SingleNodeService

__all__ = ["ModelService", "SingleNodeService"]
