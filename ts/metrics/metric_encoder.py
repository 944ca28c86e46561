"""Metrics as JSON."""

from tsl.backend.metrics import MetricEncoder

__all__ = ["MetricEncoder"]
