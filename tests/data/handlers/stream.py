"""Streams: JSON ``{"count": n, "pause": s, "size": bytes, "note": path, "fail": true}``.

With a path, what happened to the handler is written there.
"""

import time
from pathlib import Path

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:  # the call at load time
        return None
    order = data[0].get("body") or {}
    text = order.get("text", "part-{}\n")
    sent = 0
    try:
        for number in range(order.get("count", 3)):
            piece = "x" * order["size"] if "size" in order else text.format(number)
            send_intermediate_predict_response(
                [piece] * len(data), context.request_ids, "ok", 200, context
            )
            sent += 1
            if "note" in order:
                Path(f"{order['note']}.sent").write_text(str(sent))
            time.sleep(order.get("pause", 0))
        if order.get("fail"):
            raise ValueError("the stream broke as asked")
    except Exception as error:
        if "note" in order:
            Path(order["note"]).write_text(f"{type(error).__name__} after {sent}")
        raise
    return ["end\n"] * len(data)
