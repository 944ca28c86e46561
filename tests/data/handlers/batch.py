"""Tells in which batch of which call a request was.

A body is ``text[:seconds[:file]]``: how long to sleep, and a file to make before.
"""

import time
from pathlib import Path

calls = 0


def handle(data, context):
    global calls
    if data is None:  # the call at load time
        return None
    calls += 1
    texts = [bytes(row.get("body", b"")).decode() for row in data]
    bodies = [[*text.split(":"), "", ""][:3] for text in texts]
    for _, _, note in bodies:
        if note:
            Path(note).touch()
    time.sleep(max(float(seconds or 0) for _, seconds, _ in bodies))
    return [
        {"call": calls, "size": len(data), "index": index, "text": text}
        for index, text in enumerate(texts)
    ]
