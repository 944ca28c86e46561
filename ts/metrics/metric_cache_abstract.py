"""The class that every metrics cache is an instance of."""

from tsl.backend.metrics import MetricsCache as MetricCacheAbstract

__all__ = ["MetricCacheAbstract"]
