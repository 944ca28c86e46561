"""What workers print: stdout and stderr lines to the model log, and the last ones kept.

Lines go to the logger ``tsl.worker``: stdout at INFO, stderr at WARNING, with the thread name
that TorchServe's log lines carry (``W-<id>-<model>_<version>-stdout``). The last stderr lines stay
with the worker, because they say why it died.

A logged line costs some 40 µs, so a handler that prints without end could keep the event loop
busy. Lines are therefore logged in slices with a pause between; meanwhile the pipe is not read,
which in the end makes the handler wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from typing import Final, cast

from tsl.protocol.output_marks import split_mark

MAX_LINE_BYTES: Final = 64 * 1024
"""A longer line is cut here: a handler that prints no newline must not fill the memory."""
KEPT_LINES: Final = 20
SLICE_LINES: Final = 100
"""Lines logged in one go; 4 ms."""
SLICE_PAUSE_S: Final = 0.004
"""Time for everybody else after a full slice."""

logger = logging.getLogger("tsl.worker")


class WorkerOutput(asyncio.Protocol):
    """Reads one of a worker's two output pipes.

    Args:
        label: thread name for the log lines.
        level: log level of the lines.
        tail: where the last lines are kept, shared by the pipes of one process.
        is_marked: whether lines say which requests they belong to.
    """

    def __init__(
        self, label: str, level: int, tail: deque[str], *, is_marked: bool = False
    ) -> None:
        self._label = label
        self._level = level
        self._tail = tail
        self._is_marked = is_marked
        self._rest = b""
        self._waiting: deque[bytes] = deque()
        self._is_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to pause."""
        self._transport = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Split into lines and log them, or as many as may be logged at once."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        if self._waiting or len(lines) > SLICE_LINES:
            was_waiting = bool(self._waiting)
            self._waiting.extend(lines)
            if not was_waiting:
                self._transport.pause_reading()
                self._log_slice()
            return
        for line in lines:
            self._log(line)

    def connection_lost(self, exc: Exception | None) -> None:
        """Log what is left; nothing more comes, so it is bounded."""
        del exc
        self._is_ended = True
        if self._rest:
            self._waiting.append(self._rest)
            self._rest = b""
        while self._waiting:
            self._log(self._waiting.popleft())

    def _log_slice(self) -> None:
        """Log a slice of the waiting lines; read on when none is left."""
        for _ in range(min(SLICE_LINES, len(self._waiting))):
            self._log(self._waiting.popleft())
        if self._waiting:
            asyncio.get_running_loop().call_later(SLICE_PAUSE_S, self._log_slice)
        elif not self._is_ended:
            self._transport.resume_reading()

    def _log(self, line: bytes) -> None:
        request_ids = ""
        if self._is_marked:
            request_ids, line = split_mark(line)
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        if self._level >= logging.WARNING and text.strip():
            self._tail.append(text)
        extra = {"request_id": request_ids} if request_ids else None
        record = logger.makeRecord(logger.name, self._level, "", 0, text, (), None, extra=extra)
        record.threadName = self._label
        if logger.isEnabledFor(self._level):
            logger.handle(record)


def new_tail() -> deque[str]:
    """An empty store for the last lines of one process."""
    return deque(maxlen=KEPT_LINES)


class OutputPipes:
    """Two pipes for a worker's stdout and stderr."""

    def __init__(self) -> None:
        self._read = []
        self.child_ends = []
        for _ in range(2):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self._read.append(reader)
            self.child_ends.append(writer)

    async def connect(self, label: str, tail: deque[str], *, is_marked: bool) -> None:
        """Log what comes out of them; for the arguments see `WorkerOutput`."""
        loop = asyncio.get_running_loop()
        levels = (("stdout", logging.INFO), ("stderr", logging.WARNING))
        for name, level in levels:
            output = WorkerOutput(f"{label}-{name}", level, tail, is_marked=is_marked)
            pipe = os.fdopen(self._read.pop(0), "rb", buffering=0)  # owned by the transport now
            await loop.connect_read_pipe(lambda output=output: output, pipe)  # type: ignore[misc]

    def close_child_ends(self) -> None:
        """The child has its copies."""
        for fd in self.child_ends:
            os.close(fd)
        self.child_ends = []

    def close(self) -> None:
        """Give the pipes up."""
        self.close_child_ends()
        for fd in self._read:
            os.close(fd)
        self._read = []
