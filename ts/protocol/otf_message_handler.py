"""TorchServe's messages, and the older place of the function for intermediate answers."""

from tsl.backend import streaming
from tsl.backend.otf_messages import (
    create_load_model_response,
    create_predict_response,
    encode_response_headers,
    retrieve_msg,
)
from tsl.backend.util import deprecated

__all__ = [
    "create_load_model_response",
    "create_predict_response",
    "encode_response_headers",
    "retrieve_msg",
    "send_intermediate_predict_response",
]

send_intermediate_predict_response = deprecated(
    "0.12.0", replacement="ts.handler_utils.utils.send_intermediate_predict_response"
)(streaming.send_intermediate_predict_response)
