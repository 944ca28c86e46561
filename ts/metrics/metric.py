"""A metric with its current value."""

from tsl.backend.metrics import Metric

__all__ = ["Metric"]
