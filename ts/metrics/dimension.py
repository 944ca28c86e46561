"""One label of a metric."""

from tsl.backend.metrics import Dimension

__all__ = ["Dimension"]
