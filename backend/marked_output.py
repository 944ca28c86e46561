"""Marks the lines that a handler prints with the ids of the requests it is working on.

The marks are put in below Python's text streams, where whole lines arrive whoever has printed them:
``print``, `logging`, `warnings`, tracebacks. What writes to the descriptors itself (a C library, a
program that the handler starts) has no marks. Nothing here costs anything until a line is printed.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tsl.protocol.output_marks import VARIABLE, looks_marked, mark

from .streaming import running_request_ids

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class MarkingFile(io.RawIOBase):
    """Writes to a descriptor, with a mark in front of each line.

    Args:
        fd: where to; it is not closed.
        request_ids: the ids of the requests that are worked on, "" outside of a call.
    """

    def __init__(self, fd: int, request_ids: Callable[[], str]) -> None:
        self._fd = fd
        self._request_ids = request_ids
        self._at_line_start = True

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor; what is written to it directly gets no marks."""
        return self._fd

    def isatty(self) -> bool:
        """Whether somebody sits there."""
        return os.isatty(self._fd)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write everything; returns how much that was, without the marks."""
        text = bytes(data)
        ids = self._request_ids()
        rest = memoryview(self._marked(text, mark(ids)) if ids else self._guarded(text))
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        if text:
            self._at_line_start = text.endswith(b"\n")
        return len(text)

    def _marked(self, text: bytes, prefix: bytes) -> bytes:
        head = prefix if self._at_line_start else b""
        lines = text.split(b"\n")
        last = lines.pop()
        if not lines:
            return head + last
        rest = b"\n" + prefix + last if last else b"\n"
        return head + (b"\n" + prefix).join(lines) + rest

    def _guarded(self, text: bytes) -> bytes:
        """Lines that belong to no request; none of them may pass for one that does."""
        if not looks_marked(text) and b"\n" + mark("")[:1] not in text:
            return text
        return self._marked(text, mark(""))


def mark_output() -> None:
    """Have this process's output marked, if its environment asks for it; call early.

    Processes that are forked from this one print through the same objects, and so do libraries that
    have remembered ``sys.stderr`` by then.
    """
    if not os.environ.get(VARIABLE) or isinstance(getattr(sys.stdout, "buffer", None), _Marked):
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            continue
        stream.flush()
        raw = MarkingFile(stream.fileno(), running_request_ids)
        marked = io.TextIOWrapper(
            _Marked(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        marked.mode = "w"  # type: ignore[misc]  # as the interpreter's own
        setattr(sys, name, marked)
        setattr(sys, f"__{name}__", marked)


class _Marked(io.BufferedWriter):
    """A buffer over a `MarkingFile`; a class of its own, so that it can be told."""
