"""Prints and logs while it handles; raises when the body says so."""

import logging
import sys


def handle(data, context):
    if data is None:
        print("loading")
        return None
    print("printed: one\nprinted: two")
    print("on stderr", file=sys.stderr)
    logging.getLogger(__name__).info("logged")
    if any(bytes(row.get("body") or b"") == b"fail" for row in data):
        raise ValueError("failed as asked")
    return [context.get_request_id(row) for row in range(len(data))]
