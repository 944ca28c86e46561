"""Functions of workflows, one per behaviour."""

import json
import time
from pathlib import Path


def texts(row):
    return {name: bytes(value).decode() for name, value in row.items()}


def pre(data, context):
    """Hand the body on."""
    return None if data is None else [data[0]["body"]]


def upper(data, context):
    """Shout."""
    return None if data is None else [bytes(data[0]["body"]).decode().upper()]


def join(data, context):
    """Show what arrived under which name."""
    return None if data is None else [texts(data[0])]


def picture(data, context):
    """Bytes with a content type of their own."""
    if data is None:
        return None
    context.set_response_content_type(0, "image/png")
    return [b"\x89PNG"]


def flaky(data, context):
    """Fail as often as the request says, and count the attempts in a file."""
    if data is None:
        return None
    order = data[0]["body"]
    note = Path(order["note"])
    attempts = len(note.read_text()) if note.exists() else 0
    note.write_text("x" * (attempts + 1))
    if attempts < order["failures"]:
        raise ValueError("not yet")
    return [f"attempt {attempts + 1}"]


def slow(data, context):
    """Say that it runs, wait, and say whether somebody still waits."""
    if data is None:
        return None
    order = json.loads(bytes(data[0]["body"]))
    note = Path(order["note"])
    note.write_text("runs")
    end = time.monotonic() + order["sleep"]
    while time.monotonic() < end:
        time.sleep(0.01)
        if context.is_cancelled(0):
            note.write_text("cancelled")
            break
    return ["slow"]


def unloadable(data, context):
    """Refuse to be loaded."""
    if data is None:
        raise RuntimeError("this function cannot be loaded")
    return data
