"""A declared metric."""

from tsl.backend.metrics import CachingMetric

__all__ = ["CachingMetric"]
