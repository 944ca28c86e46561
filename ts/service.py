"""Calls a handler on batches."""

from tsl.backend.legacy_service import LegacyService as Service
from tsl.backend.metrics import emit_metrics
from tsl.backend.service import PREDICTION_METRIC
from tsl.backend.util import PredictionException

__all__ = ["PREDICTION_METRIC", "PredictionException", "Service", "emit_metrics"]
