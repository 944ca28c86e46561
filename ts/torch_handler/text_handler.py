"""Base class of handlers whose input is text."""

from tsl.backend.handlers.text_handler import TextHandler

__all__ = ["TextHandler"]
