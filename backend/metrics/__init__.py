"""Metrics that handlers record; they travel to the front end in frames."""

from .cache import MetricsCache
from .caching_metric import CachingMetric, MetricSink, print_record, set_default_sink
from .dimension import Dimension
from .errors import (
    GeneralMetricsCacheError,
    MetricsCacheIOError,
    MetricsCacheKeyError,
    MetricsCachePyYamlError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
)
from .legacy import Metric, MetricEncoder, MetricsStore, emit_metrics
from .units import MetricTypes, Units

__all__ = [
    "CachingMetric",
    "Dimension",
    "GeneralMetricsCacheError",
    "Metric",
    "MetricEncoder",
    "MetricSink",
    "MetricTypes",
    "MetricsCache",
    "MetricsCacheIOError",
    "MetricsCacheKeyError",
    "MetricsCachePyYamlError",
    "MetricsCacheTypeError",
    "MetricsCacheValueError",
    "MetricsStore",
    "Units",
    "emit_metrics",
    "print_record",
    "set_default_sink",
]
