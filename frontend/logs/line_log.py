"""Logs that are written from the hot path: one append per line, the rest in a thread.

A call of the standard library's logging costs 7 µs, an append here 0.1 µs. Lines are collected
under the millisecond in which their turn of the event loop began to log; ten times a second they go
to a thread, which makes time stamps, joins and writes. The thread is there because a write can block (a full pipe, a slow
disk), and the event loop must not. When it cannot keep up, lines are dropped and counted, and the
log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from .log_file import LogFile

logger = logging.getLogger(__name__)

FLUSH_S: Final = 0.1
MAX_PENDING_LINES: Final = 200_000
PIECE_LINES: Final = 512
WRITER_THREAD: Final = "line-log"
"""Name of the threads that write; one that lives on after `close` is stuck for good."""

Group: TypeAlias = tuple[int, list[bytes]]
"""Milliseconds since the epoch, and the lines of that moment."""


@dataclass(frozen=True, slots=True)
class LineStyle:
    """What stands around the text of a line.

    Attributes:
        before: ``{time}`` in it becomes the time stamp.
        after: with the line break; ``{seconds}`` in it becomes the seconds since the epoch.
        is_iso: time stamps with the zone, for machines, instead of TorchServe's local ones.
        dropped: text of the line that says how many lines are missing.
    """

    before: bytes = b"{time} - "
    after: bytes = b"\n"
    is_iso: bool = False
    dropped: bytes = b"%d lines were dropped"

    def render(self, groups: list[Group]) -> bytes:
        """The lines as they are written."""
        parts: list[bytes] = []
        for tick, texts in groups:
            stamp = iso_stamp(tick) if self.is_iso else local_stamp(tick)
            before = self.before.replace(b"{time}", stamp)
            after = self.after.replace(b"{seconds}", b"%d" % (tick // 1000))
            # A text may be several lines; then each of them is treated as one.
            parts += (before, b"\n".join(texts).replace(b"\n", after + before), after)
        return b"".join(parts)


def local_stamp(tick: int) -> bytes:
    """``2026-11-22T08:39:17,775``, local time, as log4j writes it.

    Args:
        tick: milliseconds since the epoch.
    """
    seconds, milliseconds = divmod(tick, 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
    return b"%b,%03d" % (text.encode(), milliseconds)


def iso_stamp(tick: int) -> bytes:
    """``2026-11-22T08:39:17.775+00:00``."""
    moment = datetime.fromtimestamp(tick / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").encode()


class LineLog:
    """One log; made by `LineWriter.open`.

    Args:
        wake: called when there is something to write.
        file: where to; None for the console alone.
        style: how the file's lines look.
        console_style: how the console's lines look; None for no lines there.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        file: LogFile | None,
        style: LineStyle,
        console_style: LineStyle | None,
    ) -> None:
        self.file = file
        self.style = style
        self.console_style = console_style
        self.dropped = 0
        """Lines that were lost since the start."""
        self._reported = 0
        self._is_failing = False
        self._wake = wake
        self._groups: list[Group] = []
        self._count = 0  # lines in all groups but the last
        self._append: Callable[[bytes], None] = self._begin_turn

    def add(self, text: bytes) -> None:
        """Log one line, without a line break."""
        self._append(text)

    def _begin_turn(self, text: bytes) -> None:
        """The first line of a turn of the loop: what need not be done for each line is done here."""
        asyncio.get_running_loop().call_soon(self._end_turn)
        self._open_group(int(time.time() * 1000))
        self._append(text)

    def _end_turn(self) -> None:
        self._append = self._begin_turn

    def _open_group(self, tick: int) -> None:
        groups = self._groups
        if groups:
            self._count += len(groups[-1][1])
            if self._count >= MAX_PENDING_LINES:
                self._append = self._drop
                return
            if groups[-1][0] == tick:
                self._count -= len(groups[-1][1])
                self._append = groups[-1][1].append
                return
        texts: list[bytes] = []
        groups.append((tick, texts))
        self._append = texts.append
        self._wake()

    def _drop(self, text: bytes) -> None:
        del text
        self.dropped += 1

    def take(self) -> list[Group]:
        """Everything that waits to be written."""
        groups, self._groups = self._groups, []
        self._count = 0
        self._append = self._begin_turn  # the next line begins a group
        if self.dropped != self._reported and groups:
            note = self.style.dropped % (self.dropped - self._reported)
            groups.append((groups[-1][0], [note]))
            self._reported = self.dropped
        return groups

    def write(self, groups: list[Group]) -> None:
        """Write to the file; called in the writer's thread."""
        if self.file is None:
            return
        try:
            for piece in _pieces(groups):
                self.file.write(self.style.render(piece))
        except OSError as error:
            if not self._is_failing:  # say it once, and go on trying: disks get emptied
                logger.warning("%s cannot be written: %s", self.file.path, error)
            self._is_failing = True
            return
        if self._is_failing:
            self._is_failing = False
            logger.warning("%s can be written again", self.file.path)


def _pieces(groups: list[Group]) -> Iterator[list[Group]]:
    """The groups in order, in pieces of some tens of kilobytes.

    Larger texts are made in fresh pages of memory each time, which takes three times as long.
    """
    begin = lines = 0
    for end, (_, texts) in enumerate(groups, 1):
        lines += len(texts)
        if lines >= PIECE_LINES:
            yield groups[begin:end]
            begin, lines = end, 0
    if begin < len(groups):
        yield groups[begin:]


class LineWriter:
    """Writes all logs of the front end from one thread, and the console from another.

    Args:
        console: whether there is a console to write to.
    """

    def __init__(self, *, console: bool) -> None:
        self._console = Console() if console and sys.stdout is not None else None
        self._logs: list[LineLog] = []
        self._timer: asyncio.TimerHandle | None = None
        self._batches: queue.Queue[list[tuple[LineLog, list[Group]]] | None]
        self._batches = queue.Queue(maxsize=64)
        self._thread = threading.Thread(target=self._write_all, name=WRITER_THREAD, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were lost since the start, in all logs."""
        return sum(log.dropped for log in self._logs)

    def open(
        self, open_file: Callable[[], LogFile], style: LineStyle, console_style: LineStyle | None
    ) -> LineLog:
        """Add a log.

        Args:
            open_file: opens its file; when it raises `OSError`, the console has to do.
            style: how its lines look in the file.
            console_style: how they look on the console; None for not at all.
        """
        file: LogFile | None = None
        try:
            file = open_file()
        except OSError as error:
            logger.warning("No log file (%s); its lines go to the console only", error)
        log = LineLog(self._wake, file, style, console_style)
        self._logs.append(log)
        return log

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._batches.full():  # the writer is stuck; keep the lines, and try again
            self._wake()
            return
        self._batches.put_nowait(self._take())

    def _take(self) -> list[tuple[LineLog, list[Group]]]:
        taken = [(log, log.take()) for log in self._logs]
        return [(log, groups) for log, groups in taken if groups]

    def close(self) -> None:
        """Write what is pending; waits a moment for the writer."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._batches.put(self._take(), timeout=1.0)
            self._batches.put(None, timeout=1.0)
        except queue.Full:
            return  # the writer is stuck in a write that nobody takes; it is a daemon thread
        self._thread.join(timeout=2.0)
        if self._thread.is_alive():
            return
        for log in self._logs:
            if log.file is not None:
                log.file.close()
        if self._console is not None:
            self._console.close()

    def _write_all(self) -> None:
        """The writer thread."""
        while (batch := self._batches.get()) is not None:
            for log, groups in batch:
                log.write(groups)
                if self._console is not None and log.console_style is not None:
                    self._console.offer(log.console_style, groups)


class Console:
    """Writes to stdout in a thread of its own: a pipe that nobody reads must not hold up a file."""

    def __init__(self) -> None:
        self._batches: queue.Queue[tuple[LineStyle, list[Group]] | None] = queue.Queue(maxsize=64)
        self._thread = threading.Thread(target=self._write_all, name=WRITER_THREAD, daemon=True)
        self._thread.start()

    def offer(self, style: LineStyle, groups: list[Group]) -> None:
        """Write lines, or lose them when the console is stuck; the file has them."""
        with contextlib.suppress(queue.Full):
            self._batches.put_nowait((style, groups))

    def close(self) -> None:
        """Write what is pending; waits a moment."""
        with contextlib.suppress(queue.Full):
            self._batches.put(None, timeout=1.0)
        self._thread.join(timeout=1.0)

    def _write_all(self) -> None:
        while (batch := self._batches.get()) is not None:
            style, groups = batch
            try:
                for piece in _pieces(groups):
                    sys.stdout.buffer.write(style.render(piece))
                sys.stdout.buffer.flush()
            except (OSError, ValueError):  # nobody reads the console any more
                continue
