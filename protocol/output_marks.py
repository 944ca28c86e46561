"""How lines that a worker prints say which requests they belong to.

A worker puts a mark in front of a line: the ids of the requests that it is working on. The front
end takes the mark off again and logs the ids with the line. Only with ``log_request_ids`` or JSON
logs; otherwise no line has a mark, and nobody looks for one.
"""

from __future__ import annotations

from typing import Final

VARIABLE: Final = "TSL_MARK_OUTPUT"
"""Environment variable of a worker that is to mark its lines."""

_BEGIN: Final = b"\x1e"
_END: Final = b"\x1f"


def mark(request_ids: str) -> bytes:
    """What stands in front of a line.

    Args:
        request_ids: separated by commas; "" for a line that belongs to no request, which needs a
            mark only if it could be taken for one that has it.
    """
    return _BEGIN + request_ids.encode("utf-8", "replace") + _END


def looks_marked(line: bytes) -> bool:
    """Whether a line would be taken for one with a mark."""
    return line.startswith(_BEGIN)


def split_mark(line: bytes) -> tuple[str, bytes]:
    """Take the mark off a line.

    Returns:
        The ids, "" for none, and the line as it was printed.
    """
    if not line.startswith(_BEGIN):
        return "", line
    ids, end, rest = line[1:].partition(_END)
    return (ids.decode("utf-8", "replace"), rest) if end else ("", line)
