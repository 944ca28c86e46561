"""Names of units."""

from tsl.backend.metrics import Units

__all__ = ["Units"]
