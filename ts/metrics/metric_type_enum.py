"""Kinds of metrics."""

from tsl.backend.metrics import MetricTypes

__all__ = ["MetricTypes"]
