"""For rows that come undecoded: ``data`` is JSON with what to do.

``{"pieces": n, "endless": true, "sleep": s, "note": path, "raise": status}``, all optional. Answers with
what it was given.
"""

import json
import time
from pathlib import Path

from ts.handler_utils.utils import send_intermediate_predict_response
from ts.utils.util import PredictionException


def handle(data, context):
    if data is None:  # the call at load time
        return None
    order = json.loads(bytes(data[0].get("data", b"{}")))
    note = Path(order.get("note", "/dev/null"))
    if "note" in order:
        note.write_text("running")
    time.sleep(order.get("sleep", 0))
    if "raise" in order:
        raise PredictionException("as asked", order["raise"])
    number = 0
    try:
        while order.get("endless") or number < order.get("pieces", 0):
            send_intermediate_predict_response(
                [f"piece {number}"] * len(data), context.request_ids, "", 200, context
            )
            number += 1
            time.sleep(0.001)
    except Exception as error:
        note.write_text(type(error).__name__)
        raise
    return [
        {
            "names": sorted(row),
            "headers": dict(context.get_all_request_header(index)),
        }
        for index, row in enumerate(data)
    ]
