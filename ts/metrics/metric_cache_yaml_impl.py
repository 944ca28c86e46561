"""The metrics of one model."""

from tsl.backend.metrics import MetricsCache as MetricsCacheYamlImpl

__all__ = ["MetricsCacheYamlImpl"]
