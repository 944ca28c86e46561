"""Sinks of jobs that came by gRPC.

`UnaryAnswer` and `StreamAnswer` answer a call that is about one job, by plain calls. A call in which
both sides stream has many jobs, each in a coroutine of its own: `StreamPieces` is where callbacks
become things to await, and `Outbox` where the answers of all of them come together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from google.protobuf.message import Message

from tsl.protocol.errors import TslError
from tsl.protocol.frames import Buffer, Chunk, Reply

from ..http_api.context import Stats

if TYPE_CHECKING:
    from ..jobs import Job, JobLine
    from .call import Call

T = TypeVar("T")

HIGH_WATER: Final = 64
"""Pieces that may wait for a slow client before its worker is held up."""


class Outbox(Generic[T]):
    """What several producers have for one consumer; bounded, and it can be closed."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_closed = False

    async def put(self, item: T) -> None:
        """Add an item; waits while there are too many."""
        while len(self._items) >= HIGH_WATER:
            self._has_room.clear()
            await self._has_room.wait()
        self._items.append(item)
        self._has_news.set()

    def close(self) -> None:
        """There will be no more items."""
        self._is_closed = True
        self._has_news.set()

    async def items(self) -> AsyncGenerator[T, None]:
        """The items in order, until it is closed and empty."""
        while True:
            while self._items:
                item = self._items.popleft()
                self._has_room.set()
                yield item
            if self._is_closed:
                return
            self._has_news.clear()
            await self._has_news.wait()


class UnaryAnswer:
    """A `ReplySink` for one answer; pieces of a stream are joined.

    Args:
        call: what is answered.
        stats: counts the answer.
        make: makes the encoded message of the handler's answer; raises `TslError`.
    """

    __slots__ = ("_call", "_make", "_pieces", "_stats")

    def __init__(self, call: Call, stats: Stats, make: Callable[[Buffer], bytes]) -> None:
        self._call = call
        self._stats = stats
        self._make = make
        self._pieces: list[bytes] | None = None

    def finish(self, job: Job, reply: Reply) -> None:
        """The answer, or the last piece of it."""
        self._answer(job, reply)

    def _answer(self, job: Job, reply: Reply) -> bool:
        """Answer the call; whether with a message."""
        self._stats.answered(job, 200)
        body = reply.body
        if self._pieces is not None:
            body = b"".join((*self._pieces, body))
        try:
            message = self._make(body)
        except Exception as error:
            self._call.fail(error)
            return False
        self._call.respond_bytes(message)
        return True

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece."""
        del job
        if self._pieces is None:
            self._pieces = []
        self._pieces.append(bytes(chunk.body))

    def fail(self, job: Job, error: TslError) -> None:
        """There is no answer."""
        self._stats.failed(job, error)
        self._call.fail(error)


class StreamAnswer:
    """A `ReplySink` for a stream, with back-pressure: a slow client holds up its worker.

    Args:
        call: what is answered.
        stats: counts the answer, when it begins.
        make: makes the message of a piece.
    """

    __slots__ = ("_call", "_has_begun", "_held", "_make", "_stats")

    def __init__(self, call: Call, stats: Stats, make: Callable[[Buffer], Message]) -> None:
        self._call = call
        self._stats = stats
        self._make = make
        self._held: JobLine | None = None
        self._has_begun = False

    def finish(self, job: Job, reply: Reply) -> None:
        """The last piece; one that is empty behind others is no piece."""
        is_stream = self._has_begun
        self._begin(job)
        if len(reply.body) or not is_stream:
            self._call.send(self._make(reply.body))
        if is_stream:
            self._stats.streamed(job)
        self.release()
        self._call.finish()

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece."""
        self._begin(job)
        self._call.send(self._make(chunk.body))
        if self._call.is_congested and self._held is None and job.channel is not None:
            self._held = job.channel
            self._held.pause_reading()
            self._call.on_drained = self.release

    def fail(self, job: Job, error: TslError) -> None:
        """There is no rest."""
        self._stats.failed(job, error)
        self.release()
        self._call.fail(error)

    def release(self) -> None:
        """Let the worker go on."""
        held, self._held = self._held, None
        if held is not None:
            held.resume_reading()

    def _begin(self, job: Job) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._stats.answered(job, 200)


class StreamPieces:
    """A `ReplySink` for a stream that somebody iterates over; who is slow holds up the worker.

    Args:
        stats: counts the answer, when it begins.

    Attributes:
        is_stream: the handler streams; set with the first piece.
    """

    __slots__ = (
        "_error",
        "_has_begun",
        "_has_ended",
        "_held",
        "_pieces",
        "_ready",
        "_stats",
        "is_stream",
    )

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._pieces: deque[bytes] = deque()
        self._ready = asyncio.Event()
        self._error: TslError | None = None
        self._held: JobLine | None = None
        self._has_begun = False
        self._has_ended = False
        self.is_stream = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The pieces in order, until the last one.

        Raises:
            TslError: there is no rest.
        """
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                if len(self._pieces) < HIGH_WATER // 2:
                    self.release()
                yield piece
            if self._has_ended:
                break
            self._ready.clear()
            await self._ready.wait()
        if self._error is not None:
            raise self._error

    def finish(self, job: Job, reply: Reply) -> None:
        """The last piece; one that is empty behind others is no piece."""
        is_stream = self._has_begun
        self._begin(job)
        if len(reply.body) or not is_stream:
            self._pieces.append(bytes(reply.body))
        if is_stream:
            self._stats.streamed(job)
        self._end()

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece."""
        self.is_stream = True
        self._begin(job)
        self._pieces.append(bytes(chunk.body))
        self._ready.set()
        if len(self._pieces) >= HIGH_WATER and self._held is None and job.channel is not None:
            self._held = job.channel
            self._held.pause_reading()

    def fail(self, job: Job, error: TslError) -> None:
        """There is no rest."""
        self._stats.failed(job, error)
        self._error = error
        self._end()

    def release(self) -> None:
        """Let the worker go on."""
        held, self._held = self._held, None
        if held is not None:
            held.resume_reading()

    def _begin(self, job: Job) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._stats.answered(job, 200)

    def _end(self) -> None:
        self._has_ended = True
        self.release()
        self._ready.set()
