"""Adds up the numbers of a sequence; answers the sum, who has it, and who came in the same call.

The body is JSON: ``{"add": n, "note": path, "gate": path, "end": true, "die": true}``; with a gate,
it goes on when that file exists.
"""

import os
import time
from pathlib import Path

SUMS = {}


def handle(data, context):
    if data is None:  # the call at load time
        return None
    ids = [context.get_sequence_id(index) for index in range(len(data))]
    assert len(set(ids)) == len(ids), "two requests of one sequence in one call"
    answers = []
    for index, (row, name) in enumerate(zip(data, ids, strict=True)):
        order = row["body"]
        if "note" in order:
            Path(order["note"]).write_text("began")
        while "gate" in order and not Path(order["gate"]).exists():
            time.sleep(0.01)
        if order.get("die"):
            os._exit(9)
        if context.get_request_header(index, context.header_key_sequence_start) == "true":
            SUMS.pop(name, None)
        SUMS[name] = SUMS.get(name, 0) + order["add"]
        answers.append({"sum": SUMS[name], "id": name, "pid": os.getpid(), "together": sorted(ids)})
        if order.get("end"):
            context.set_response_header(index, context.header_key_sequence_end, name)
            del SUMS[name]
    return answers
