"""Base class of handlers whose input is an image."""

from tsl.backend.handlers.vision_handler import VisionHandler

__all__ = ["VisionHandler"]
