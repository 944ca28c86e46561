"""Intermediate answers, and classes by name."""

from tsl.backend.otf_messages import create_predict_response
from tsl.backend.streaming import send_intermediate_predict_response
from tsl.backend.util import import_class

__all__ = ["create_predict_response", "import_class", "send_intermediate_predict_response"]
