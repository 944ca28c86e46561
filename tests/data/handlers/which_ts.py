"""Answers where the package ts comes from, and fails to load if it is a mixture."""

import ts
from ts.context import Context
from ts.handler_utils.utils import send_intermediate_predict_response
from ts.service import PredictionException

USED = (send_intermediate_predict_response, PredictionException)


def handle(data, context):
    if data is None:
        return None
    assert type(context) is Context
    return [ts.__file__ for _ in data]
