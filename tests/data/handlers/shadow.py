"""Comes with a module ``random`` of its own, named like one of the standard library."""

import os
import random


def handle(data, context):
    if data is None:  # the call at load time
        return None
    return [
        {"whose": getattr(random, "WHOSE", "the standard library's"), "pid": os.getpid()}
    ] * len(data)
