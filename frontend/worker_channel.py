"""The front end's end of a worker socket: batches out, answers in.

A channel belongs to one connected worker process. It knows which batches are in flight, settles
their jobs with what arrives, and tells its `ChannelOwner` the few things that concern the
worker's life. It does not start, stop or choose workers.

Frames are not written one by one: what a turn of the event loop produces for a worker leaves in
one write at the turn's end. With many clients that is one system call and one wake-up of the
worker for a dozen requests, and the worker's answers come back together, too. Only what is a dozen
requests by itself leaves at once: the worker may begin while the turn goes on.

A worker serves its frames in order, so of several batches in flight the oldest is the one being
worked on. That is what `lose` relies on: when the worker dies, the oldest batch has failed, and
the others have never been begun.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, cast

from tsl.protocol.buffers import SOCKET_BYTES
from tsl.protocol.busy_polling import BusyPolling
from tsl.protocol.channel import Channel, ChannelState, Side
from tsl.protocol.codec import FrameDecoder, RowEncoder, encode
from tsl.protocol.errors import ProtocolError, TslError
from tsl.protocol.frames import (
    Buffer,
    Cancel,
    Chunk,
    Done,
    Failure,
    Frame,
    Hello,
    Load,
    Loaded,
    LoadFailure,
    MetricRecord,
    Metrics,
    Ping,
    Predict,
    Reply,
    Result,
    Row,
    Shutdown,
)

from .busy_loop import BusyLoop
from .direct_reading import read_directly
from .jobs import QUEUED, SENT, Job
from .loop_turn import LoopTurn
from .shared_line import SharedLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

STREAM_NEXT: Final = "ts_stream_next"
"""Header of an answer: ``true`` when more of it follows."""
JOIN_BELOW_BYTES: Final = 16 * 1024
"""Below this size one copied write is cheaper than a vectored one (``benchmarks/micro``)."""
EARLY_ROWS: Final = 8
"""A batch of so many rows does not wait for the turn's end."""


_WORKER: Final = Side.WORKER


class ChannelOwner(Protocol):
    """What a channel tells the worker it belongs to; plain calls."""

    def on_loaded(self, load_ms: float) -> None:
        """The handler is ready."""

    def on_load_failed(self, code: str, reason: str) -> None:
        """The handler cannot be loaded."""

    def on_free(self, batch: Batch, service_us: int | None) -> None:
        """A batch has been answered: there is room for another one.

        ``service_us`` is the time inside the handler, None when the batch failed as a whole:
        an exception tells nothing about how quick a model is.
        """

    def on_done(self, batch_id: int) -> None:
        """A worker that does not answer has run a batch.

        Raises:
            ProtocolError: this one was to answer.
        """

    def on_metrics(self, records: list[MetricRecord]) -> None:
        """The handler recorded metrics."""

    def on_channel_lost(self) -> None:
        """The connection is gone, and everything that was in it has been read."""


class Companion(Protocol):
    """Another process that gets what a channel sends; see `worker_group`."""

    def relay(self, frame: Frame, buffers: list[Buffer]) -> None:
        """Send a frame to it, too; ``buffers`` is the frame encoded."""


class Batch:
    """Jobs that were sent in one frame.

    Attributes:
        id: number on the wire, unique in its channel.
        jobs: in the order of the frame's rows.
        active_at: when the worker was last heard of about it, ``time.monotonic()`` seconds;
            the response timeout counts from here.
        service_us: time in the handler, once the worker has said it.
    """

    __slots__ = ("active_at", "id", "jobs", "service_us")

    is_shared: ClassVar[bool] = False
    has_steps: ClassVar[bool] = False

    def __init__(self, number: int, jobs: list[Job], now: float) -> None:
        self.id = number
        self.jobs = jobs
        self.active_at = now
        self.service_us = 0


class SharedBatch(Batch):
    """A batch that does not have the worker for itself."""

    __slots__ = ()

    is_shared = True


class StepBatch(SharedBatch):
    """One step of a continuous batch: rows whose answer says so go on in the next one."""

    __slots__ = ()

    has_steps = True


class WorkerChannel(asyncio.Protocol):
    """One connection to one worker, from its hello to its end.

    Args:
        claim: called with the worker's `Hello`; answers whose channel this is and what to load.
        turn: of the event loop.
        busy_loop: keeps the event loop awake for the answers of quick models.

    Attributes:
        companions: get every frame but `Load` and `Cancel`, too.

    Raises (from the claim, and handled here):
        ProtocolError: nobody expects this worker; the connection is dropped.
    """

    def __init__(self, claim: ChannelClaim, turn: LoopTurn, busy_loop: BusyLoop) -> None:
        self._claim = claim
        self._turn = turn
        self._owner: ChannelOwner | None = None
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(max_body_bytes=64 * 1024)
        self._channel = Channel()
        self._rows = RowEncoder()
        self._batches: dict[int, Batch] = {}
        self._last_id = 0
        self._paused_by = 0
        self._out: list[Buffer] = []
        self._is_retired = False
        self._is_concurrent = False
        self._busy_loop = busy_loop
        self._polling = BusyPolling(busy_loop.limit_s)
        self._last_us: float = math.inf  # what the last batch took
        self.is_lost = False
        self.companions: tuple[Companion, ...] = ()

    def __repr__(self) -> str:
        return f"<WorkerChannel {self._channel.state.name} {len(self._batches)} in flight>"

    # Questions...

    @property
    def in_flight(self) -> int:
        """Batches sent and not yet answered."""
        return len(self._batches)

    @property
    def jobs_in_flight(self) -> int:
        """Jobs in those batches that nobody has settled."""
        return sum(not job.is_settled for batch in self._batches.values() for job in batch.jobs)

    @property
    def is_serving(self) -> bool:
        """Whether batches may be sent."""
        serving = self._channel.state is ChannelState.SERVING
        return serving and not self._is_retired and not self.is_lost

    @property
    def oldest(self) -> Batch | None:
        """The batch the worker is working on."""
        return next(iter(self._batches.values()), None)

    @property
    def batches(self) -> list[Batch]:
        """Everything in flight, the oldest first."""
        return list(self._batches.values())

    @property
    def is_paused(self) -> bool:
        """Whether reading is held up by a client that does not take its stream."""
        return self._paused_by > 0

    # ...sending...

    def send_batch(self, jobs: list[Job], now: float) -> None:
        """Hand a batch to the worker."""
        self._last_id = number = self._last_id + 1
        batch = Batch(number, jobs, now)
        self._send_rows(number, [job.row for job in jobs])
        self._batches[number] = batch  # only now: a frame that cannot be made was never sent
        for job in jobs:
            job.state = SENT
            job.sent_at = now
            job.batch = batch
            job.channel = self

    def begin_next(self) -> None:
        """A batch that has waited at its worker is worked on from now on."""
        batch = self.oldest
        if batch is not None:
            for job in batch.jobs:
                job.sent_at = batch.active_at

    def send_shared(self, jobs: list[Job], now: float, kind: type[SharedBatch]) -> None:
        """Hand over jobs whose ends do not come together.

        Args:
            jobs: those that the worker has got before, and after them new ones.
            now: ``time.monotonic()`` seconds.
            kind: what the answer means for them.

        Raises:
            ProtocolError: they are too large for a frame; nothing was sent.
        """
        self._last_id += 1
        batch = kind(self._last_id, jobs, now)
        self._send_rows(batch.id, [job.row for job in jobs])
        self._batches[batch.id] = batch
        for job in jobs:
            job.batch = batch
            if job.state is QUEUED:
                job.state = SENT
                job.sent_at = now
                job.channel = SharedLine(self)

    def cancel(self, batch: Batch, job: Job) -> None:
        """Tell the worker that nobody waits for a job any more; its answer will be discarded.

        Processes that work on the job together are not told: each would hear it at another
        point of its work, and one that goes on would wait for one that has stopped.
        """
        if self.companions:
            return
        is_open = self._channel.state in (ChannelState.SERVING, ChannelState.CLOSING)
        if is_open and not self._is_retired and not self.is_lost and batch.id in self._batches:
            self._send(Cancel(batch.id, batch.jobs.index(job)))

    def ping(self, nonce: int) -> None:
        """Ask for a sign of life; it comes between two batches."""
        self._send(Ping(nonce))

    def shutdown(self, reason: str) -> None:
        """Ask the worker to finish what it has and to exit."""
        if self._is_retired or self.is_lost or self._channel.state is ChannelState.CLOSING:
            return
        self._send(Shutdown(reason))

    def retire(self) -> None:
        """The process has ended: send nothing more, but read what it has still written."""
        self._is_retired = True

    def disown(self) -> None:
        """Drop the connection; nothing of it concerns its owner any more."""
        self._owner = None
        self.abort()

    def abort(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Stop reading until `resume_reading` was called as often: a stream's client is slow."""
        self._paused_by += 1
        if self._paused_by == 1 and self._transport is not None and not self.is_lost:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo one `pause_reading`."""
        self._paused_by -= 1
        if self._paused_by == 0 and self._transport is not None and not self.is_lost:
            now = time.monotonic()
            for batch in self._batches.values():
                batch.active_at = now  # the wait was the client's, not the worker's
            self._transport.resume_reading()

    @property
    def _begun(self) -> int:
        """How many of the batches in flight the worker is working on."""
        return len(self._batches) if self._is_concurrent else 1

    def working_on(self) -> str:
        """Ids of the requests that the worker is working on, separated by commas."""
        begun = islice(self._batches.values(), self._begun)
        jobs = [job for batch in begun for job in batch.jobs if not job.is_settled]
        return ",".join([job.row.request_id for job in jobs])

    def lose(self) -> tuple[list[Job], list[Job]]:
        """Take all jobs out of a dead channel.

        Returns:
            The jobs the worker was working on, and those it had not begun, each in order and
            without the ones that are settled already.
        """
        first = self._begun
        batches = list(self._batches.values())
        self._batches.clear()
        begun = [job for batch in batches[:first] for job in batch.jobs if not job.is_settled]
        fresh = [job for batch in batches[first:] for job in batch.jobs if not job.is_settled]
        return begun, fresh

    def _send(self, frame: Frame) -> None:
        self._channel.step(Side.FRONT_END, frame)
        if not self._out:
            self._turn.call_at_end(self._flush)
        buffers = encode(frame)
        self._out += buffers
        if self.companions:
            for companion in self.companions:
                companion.relay(frame, buffers)

    def _send_rows(self, number: int, rows: list[Row]) -> None:
        """Send a `Predict` frame, without making one where nobody looks at it."""
        if self.companions or self._channel.state is not ChannelState.SERVING:
            self._rows.forget()  # the others may not have got what came before
            self._send(Predict(number, rows))
            return
        if not self._out:
            self._turn.call_at_end(self._flush)
        self._out += self._rows.encode(number, rows)
        if len(rows) >= EARLY_ROWS:
            self._flush()

    def call_after_read(self, callback: Callable[[], None]) -> None:
        """Call something when all that has been read is handled; from inside of a `ReplySink`."""
        self._turn.call_at_end(callback)

    def relay(self, frame: Frame, buffers: list[Buffer]) -> None:
        """Send a frame that another channel has encoded."""
        self._channel.step(Side.FRONT_END, frame)
        if not self._out:
            self._turn.call_at_end(self._flush)
        self._out += buffers

    def _flush(self) -> None:
        """Write what this turn of the loop has produced so far."""
        buffers, self._out = self._out, []
        if not buffers or self.is_lost or self._transport is None:
            return
        if sum(map(len, buffers)) < JOIN_BELOW_BYTES:
            self._transport.write(b"".join(buffers))
        else:
            self._transport.writelines(buffers)
        if len(self._batches) == 1 and self._last_us <= self._busy_loop.quick_us:
            self._expect_answer()

    def _expect_answer(self) -> None:
        """Stay awake for the answer to a lone request; with more of them there is enough to do."""
        batch = self.oldest
        if batch is not None and len(batch.jobs) == 1:
            self._busy_loop.expect(self._polling)

    # ...and receiving.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the worker's hello."""
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)

    def data_received(self, data: bytes) -> None:
        """Decode frames and act on them; anything malformed ends this worker, nothing else."""
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            self._drop(error)
            return
        self._busy_loop.arrived(self._polling)
        self._turn.begin(holds_writes=_are_several_answers(frames))
        try:
            for frame in frames:
                if type(frame) is Result and self._channel.state is ChannelState.SERVING:
                    self._on_result(frame)  # the usual one, which changes no state
                    continue
                self._channel.step(_WORKER, frame)
                self._receive(frame)
            if self._decoder.room and self._transport is not None:
                read_directly(self._transport, self)
        except ProtocolError as error:
            self._drop(error)
        finally:
            self._turn.end()

    def direct_room(self) -> memoryview:
        """Where the rest of a large answer goes."""
        return self._decoder.room[0]

    def direct_filled(self, size: int) -> bool:
        """So much of a large answer has come; answers whether there is more to come."""
        self._turn.begin(holds_writes=False)
        try:
            frame = self._decoder.filled(size)
            if frame is None:
                return True
            self._channel.step(Side.WORKER, frame)
            self._receive(frame)
        except ProtocolError as error:
            self._drop(error)
        finally:
            self._turn.end()
        return False

    def _drop(self, error: ProtocolError) -> None:
        logger.error("%r: %s; dropping the worker", self._owner or self, error.message)
        self.abort()

    def _receive(self, frame: Frame) -> None:
        if isinstance(frame, Result):
            self._on_result(frame)
        elif isinstance(frame, Chunk):
            self._on_chunk(frame)
        elif isinstance(frame, Failure):
            self._on_failure(frame)
        elif isinstance(frame, Hello):
            self._on_hello(frame)
        elif self._owner is not None:
            if isinstance(frame, Metrics):
                self._owner.on_metrics(frame.records)
            elif isinstance(frame, Loaded):
                self._owner.on_loaded(frame.load_ms)
            elif isinstance(frame, LoadFailure):
                self._owner.on_load_failed(frame.code, frame.reason)
            elif isinstance(frame, Done):
                self._owner.on_done(frame.batch_id)

    def _on_hello(self, hello: Hello) -> None:
        owner, load, max_body_bytes = self._claim(self, hello)
        self._owner = owner
        self._decoder = FrameDecoder(max_body_bytes=max_body_bytes)
        self._is_concurrent = load.is_async
        self._send(load)

    def _on_result(self, result: Result) -> None:
        batch_id, service_us, replies = result
        batch = self._expect(batch_id)
        jobs = batch.jobs
        if len(replies) != len(jobs):
            raise ProtocolError("number of replies differs from the batch")
        # Everything is checked before the first job is settled: a batch that stays in flight
        # is answered by `lose`, one that is half settled would be by nobody.
        errors = {n: _error_of(reply) for n, reply in enumerate(replies) if reply[3]}
        self._forget(batch)
        batch.service_us = self._last_us = service_us
        if errors or batch.has_steps:
            self._settle(batch, replies, errors)
        else:
            for job, reply in zip(jobs, replies, strict=True):
                job.finish(reply)
        assert self._owner is not None
        self._owner.on_free(batch, service_us)

    @staticmethod
    def _settle(batch: Batch, replies: list[Reply], errors: dict[int, TslError]) -> None:
        """Hand over answers that are not all the ends of their jobs."""
        for number, (job, reply) in enumerate(zip(batch.jobs, replies, strict=True)):
            if number in errors:
                job.fail(errors[number])
            elif batch.has_steps and goes_on(reply):
                chunk = Chunk(batch.id, number, *reply[:3], reply.body)
                job.stream(chunk)
                _count(job, chunk)
            else:
                job.finish(reply)

    def _on_chunk(self, chunk: Chunk) -> None:
        batch = self._expect(chunk.batch_id)
        if not 0 <= chunk.row < len(batch.jobs):
            raise ProtocolError("a chunk for a row that is not in flight")
        batch.active_at = time.monotonic()
        job = batch.jobs[chunk.row]
        job.stream(chunk)
        if batch.is_shared:
            _count(job, chunk)

    def _on_failure(self, failure: Failure) -> None:
        error = TslError.from_wire(failure.code, failure.message, failure.status)
        batch = self._expect(failure.batch_id)
        self._forget(batch)
        for job in batch.jobs:
            job.fail(error)
        assert self._owner is not None
        self._owner.on_free(batch, None)

    def _expect(self, batch_id: int) -> Batch:
        """The batch the worker is working on, which is the only one it may speak of."""
        batches = self._batches
        batch = batches.get(batch_id)
        if batch is None or not (self._is_concurrent or batch_id == next(iter(batches))):
            raise ProtocolError("an answer to a batch whose turn it is not")
        return batch

    def _forget(self, batch: Batch) -> None:
        batches = self._batches
        del batches[batch.id]
        if batches and not self._is_concurrent:
            next(iter(batches.values())).active_at = time.monotonic()  # its turn begins now

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end once; the owner decides what becomes of the jobs."""
        del exc
        self.is_lost = True
        if self._owner is not None:
            self._owner.on_channel_lost()


class ChannelClaim(Protocol):
    """Finds the worker that a new connection belongs to."""

    def __call__(self, channel: WorkerChannel, hello: Hello) -> tuple[ChannelOwner, Load, int]:
        """Check the hello's version, id and token.

        Returns:
            The owner, what to load, and the limit for the bodies of one frame, in bytes.

        Raises:
            ProtocolError: no such worker is expected.
        """


def _are_several_answers(frames: list[Frame]) -> bool:
    """Whether writes should wait for each other; a lone answer has nothing to wait for."""
    if len(frames) == 1:
        frame = frames[0]
        return type(frame) is Result and len(frame.replies) > 1
    return bool(frames)


def _error_of(reply: Reply) -> TslError:
    return TslError.from_wire(
        reply.error, bytes(reply.body).decode("utf-8", "replace"), reply.status
    )


def goes_on(reply: Reply) -> bool:
    """Whether the handler, or its stopping criterion, announced more answers for this row."""
    headers = reply.headers
    return any(
        headers[at].lower() == STREAM_NEXT and headers[at + 1] == "true"
        for at in range(0, len(headers), 2)
    )


def _count(job: Job, chunk: Chunk) -> None:
    line = job.channel
    if isinstance(line, SharedLine) and line.is_held:
        line.count(len(chunk.body))


def fail_all(jobs: Iterable[Job], error: TslError) -> None:
    """Answer several jobs with the same error."""
    for job in jobs:
        job.fail(error)
