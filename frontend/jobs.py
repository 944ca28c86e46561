"""One accepted inference call, settled exactly once.

Theory of operation. A `Job` is made when a request has been understood and a model was found.
It waits in a `BatchQueue`, travels in one batch, and ends in one of four ways. Every end goes
through `Job._end`, which lets the first one through and refuses all others: whoever comes late
(a result after a deadline, a deadline after a result, a client that leaves meanwhile) is told so
by ``False`` and does nothing. Hence no request is answered twice, and because a queue and a
channel each settle all they hold when they go down, none is forgotten::

    QUEUED ──▶ SENT ──▶ STREAMING ──▶ DONE | FAILED | EXPIRED | CANCELLED
       │         └───────────────────────▲
       └─────────────────────────────────┘

A job knows nothing of HTTP or gRPC: its answer goes to a `ReplySink`.
"""

from __future__ import annotations

from asyncio import TimerHandle
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from tsl.protocol.errors import DeadlineExceeded, JobCancelled, TslError
from tsl.protocol.frames import Chunk, Reply, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from .metrics.server_stats import ModelSeries
    from .worker_channel import Batch


class JobState(IntEnum):
    """Where a job is."""

    QUEUED = 0
    SENT = 1
    STREAMING = 2
    DONE = 3
    FAILED = 4
    EXPIRED = 5
    CANCELLED = 6


QUEUED: Final = JobState.QUEUED
SENT: Final = JobState.SENT
STREAMING: Final = JobState.STREAMING
DONE: Final = JobState.DONE


class ReplySink(Protocol):
    """Where the answer of a job goes. Each method is a plain call that must not raise."""

    def finish(self, job: Job, reply: Reply) -> None:
        """The one answer, or the last piece of a stream."""

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece of a stream; called any number of times before the end."""

    def fail(self, job: Job, error: TslError) -> None:
        """There is no answer, or no rest of the stream."""


class JobHolder(Protocol):
    """Where a job waits: a queue, or a workflow that works on it."""

    def remove(self, job: Job) -> bool:
        """Forget a job that has had its end; False when it is not here."""


class JobLine(Protocol):
    """A job's line to the worker that has got it; `WorkerChannel` is one."""

    def cancel(self, batch: Batch, job: Job) -> None:
        """Tell the worker that nobody waits for this job any more."""

    def call_after_read(self, callback: Callable[[], None]) -> None:
        """Call something when all that the worker has sent up to now is handled."""

    def pause_reading(self) -> None:
        """The client does not take its stream as quickly as it comes."""

    def resume_reading(self) -> None:
        """The client has caught up, or left."""


class Job:
    """The unit of inference: one row, one answer.

    Args:
        row: what the worker gets.
        sink: where the answer goes.
        now: time of acceptance, ``time.monotonic()`` seconds.
        deadline: when the answer is of no use any more, same clock; None for never.
    """

    __slots__ = (
        "batch",
        "channel",
        "deadline",
        "enqueued_at",
        "labels",
        "queue",
        "row",
        "sent_at",
        "series",
        "sink",
        "size_bytes",
        "state",
        "timer",
    )

    is_solo: ClassVar[bool] = False
    """Whether it must be alone in its batch."""

    def __init__(
        self, row: Row, sink: ReplySink, now: float, deadline: float | None = None
    ) -> None:
        self.row = row
        self.sink = sink
        self.enqueued_at = now
        self.sent_at = 0.0
        self.deadline = deadline
        self.state = QUEUED
        parts = row[3]
        self.size_bytes = (
            len(parts[0][2]) if len(parts) == 1 else sum(len(part[2]) for part in parts)
        )
        self.labels = ("", "")  # model name and version as asked for: for the counters
        self.series: ModelSeries | None = None  # these counters, once they are found
        self.queue: JobHolder | None = None
        self.batch: Batch | None = None
        self.channel: JobLine | None = None
        self.timer: TimerHandle | None = None  # only for a job with a deadline

    def __repr__(self) -> str:
        return f"<Job {self.row[0]} {self.state.name}>"

    @property
    def is_settled(self) -> bool:
        """Whether the job has had its end."""
        return self.state >= DONE

    # The four ends. Each answers whether it was the one that settled the job.

    def finish(self, reply: Reply) -> bool:
        """Hand over the answer."""
        if self.state >= DONE:  # as `_end`, without the call
            return False
        self.state = DONE
        self.queue = self.batch = self.channel = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.sink.finish(self, reply)
        return True

    def fail(self, error: TslError) -> bool:
        """Hand over the reason why there is no answer."""
        if not self._end(JobState.FAILED):
            return False
        self.sink.fail(self, error)
        return True

    def expire(self) -> bool:
        """Answer that the deadline has passed, and withdraw the job."""
        return self._withdraw(JobState.EXPIRED, DeadlineExceeded())

    def cancel(self) -> bool:
        """The client left: withdraw the job; its sink only learns why."""
        return self._withdraw(JobState.CANCELLED, JobCancelled())

    def _withdraw(self, state: JobState, error: TslError) -> bool:
        """End the job and drop it wherever it is: a queue forgets it, a worker is told."""
        queue, channel, batch = self.queue, self.channel, self.batch
        if not self._end(state):
            return False
        if channel is not None and batch is not None:
            channel.cancel(batch, self)
        elif queue is not None:
            queue.remove(self)
        self.sink.fail(self, error)
        return True

    def stream(self, chunk: Chunk) -> bool:
        """Hand over a piece of a stream; False when nobody waits for it."""
        if self.state >= DONE:
            return False
        self.state = STREAMING
        self.sink.chunk(self, chunk)
        return True

    def _end(self, state: JobState) -> bool:
        if self.state >= DONE:
            return False
        self.state = state
        self.queue = self.batch = self.channel = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return True


class SoloJob(Job):
    """A job that is alone in its batch: handlers look at the first row only to see what it is."""

    __slots__ = ()

    is_solo = True
