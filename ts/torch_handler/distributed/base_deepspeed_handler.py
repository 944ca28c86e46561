"""Base class for DeepSpeed over a group of processes."""

from tsl.backend.handlers.base_deepspeed_handler import BaseDeepSpeedHandler

__all__ = ["BaseDeepSpeedHandler"]
