"""Forks a child that keeps every descriptor open, as `multiprocessing` does; then dies.

The body is a path for the child's pid; with ``live `` before it the worker does not die.
"""

import os
import time
from pathlib import Path


def handle(data, context):
    if data is None:  # the call at load time
        return None
    for row in data:
        note = bytes(row.get("body", b"")).decode()
        if note:
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            Path(note.removeprefix("live ")).write_text(str(child))
            if not note.startswith("live "):
                os._exit(1)
    return ["alive"] * len(data)
