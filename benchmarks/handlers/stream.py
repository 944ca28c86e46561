"""Answers with so many chunks as the body says, as fast as it can."""

from typing import Any

from ts.handler_utils.utils import send_intermediate_predict_response

TEXT = "token "


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:
    """Sends all chunks but the last, and returns that one."""
    if data is None:  # the call at load time
        return None
    texts = [TEXT] * len(data)
    for _ in range(int(data[0]["body"]) - 1):
        send_intermediate_predict_response(
            texts, context.request_ids, "Intermediate Prediction success", 200, context
        )
    return texts
