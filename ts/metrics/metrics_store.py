"""Collects metrics; for older handlers."""

from tsl.backend.metrics import MetricsStore

__all__ = ["MetricsStore"]
