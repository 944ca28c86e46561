"""Time the steps of a handler."""

from tsl.backend.timer import timed

__all__ = ["timed"]
