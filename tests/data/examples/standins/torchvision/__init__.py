"""The few parts of torchvision that image handlers use, on Pillow and torch alone."""

from . import transforms

__version__ = "0.99.0"
__all__ = ["transforms"]
