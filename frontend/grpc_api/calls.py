"""Sinks of jobs that came by gRPC: the answer goes to a coroutine that waits for it.

HTTP answers from plain callbacks; gRPC's server library runs each call in a coroutine. So these
two are where callbacks become things to await: one answer, or a stream of pieces.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from tsl.protocol.errors import TslError
from tsl.protocol.frames import Chunk, Reply

from ..http_api.context import Stats

if TYPE_CHECKING:
    from ..jobs import Job, JobLine

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


class UnaryCall:
    """A `ReplySink` for one answer; pieces of a stream are joined.

    Args:
        stats: counts the answer.
    """

    __slots__ = ("_future", "_pieces", "_stats")

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._pieces: list[bytes] = []
        self._future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(self) -> bytes:
        """The handler's answer.

        Raises:
            TslError: there is none.
        """
        return await self._future

    def finish(self, job: Job, reply: Reply) -> None:
        """The answer, or the last piece of it."""
        self._stats.answered(job, 200)
        if not self._future.done():
            self._future.set_result(b"".join((*self._pieces, reply.body)))

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece."""
        del job
        self._pieces.append(bytes(chunk.body))

    def fail(self, job: Job, error: TslError) -> None:
        """There is no answer."""
        self._stats.failed(job, error)
        if not self._future.done():
            self._future.set_exception(error)


class StreamCall:
    """A `ReplySink` for a stream, with back-pressure: a slow client holds up its worker.

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
