"""Sleeps for the seconds in the body, notes that it ran, and may fail afterwards.

The body is JSON: ``{"sleep": seconds, "note": path, "fail": true}``, all of them optional.
"""

import os
import time
from pathlib import Path


def handle(data, context):
    if data is None:  # the call at load time
        return None
    answers = []
    for row in data:
        order = row.get("body") or {}
        if "note" in order:
            with Path(order["note"]).open("a") as file:
                file.write(f"{order.get('name', 'ran')}\n")
        the_handler_hangs_here(order.get("sleep", 0))
        if order.get("fail"):
            raise ValueError("failed as asked")
        answers.append({"name": order.get("name", ""), "pid": os.getpid()})
    return answers


def the_handler_hangs_here(seconds):
    time.sleep(seconds)
