"""The class that every declared metric is an instance of."""

from tsl.backend.metrics import CachingMetric as MetricAbstract

__all__ = ["MetricAbstract"]
