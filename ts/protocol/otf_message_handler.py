"""Older place of the function for intermediate answers; each call warns."""

from tsl.backend import streaming
from tsl.backend.util import deprecated

__all__ = ["send_intermediate_predict_response"]

send_intermediate_predict_response = deprecated(
    "0.12.0", replacement="ts.handler_utils.utils.send_intermediate_predict_response"
)(streaming.send_intermediate_predict_response)
