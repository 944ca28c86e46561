"""Intermediate answers, and classes by name."""

from tsl.backend.streaming import send_intermediate_predict_response
from tsl.backend.util import import_class

__all__ = ["import_class", "send_intermediate_predict_response"]
