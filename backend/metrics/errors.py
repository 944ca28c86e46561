"""What the metrics API raises when it is used wrongly; names and bases are those users catch."""

from __future__ import annotations


class GeneralMetricsCacheError(Exception):
    """Any other misuse of the metrics cache."""


class MetricsCacheIOError(OSError):
    """The metrics configuration cannot be read."""


class MetricsCachePyYamlError(Exception):
    """The metrics configuration is not YAML."""


class MetricsCacheTypeError(TypeError):
    """An argument has the wrong type."""


class MetricsCacheValueError(ValueError):
    """An argument has a value that is not allowed, such as an unknown unit of time."""


class MetricsCacheKeyError(KeyError):
    """There is no such metric, or the configuration lacks a key."""
