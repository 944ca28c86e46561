"""Feed the workers of a stateful model: all jobs of a sequence to one worker, in order.

Which sequence belongs to whom is decided by `sequences.SequenceQueue`; this brings it together
with workers and time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from tsl.protocol.errors import ProtocolError, ServiceUnavailable, TslError, WorkerDied

from .jobs import Job
from .sequences import SequenceQueue
from .steps import remaining, send_step
from .worker import Worker, WorkerOwner
from .worker_channel import Batch, WorkerChannel, fail_all
from .worker_pool import MetricSink, WorkerPool


class SequencePool(WorkerPool):
    """Workers that keep the state of sequences (``sequenceBatching``).

    Args:
        name: model name and version for messages.
        queue: the version's queue.
        new_worker: makes another worker of this version (not started).
        response_timeout_s: how long a worker may be silent about a batch.
        metrics: where handlers' metrics go.
    """

    queue: SequenceQueue

    def __init__(
        self,
        name: str,
        queue: SequenceQueue,
        new_worker: Callable[[WorkerOwner], Worker],
        response_timeout_s: float,
        metrics: MetricSink,
    ) -> None:
        super().__init__(name, queue, new_worker, response_timeout_s, metrics)

    @property
    def places(self) -> int:
        """Workers that wait for a job."""
        return len(self._idle)

    def _dispatch(self, now: float) -> None:
        """Bind new sequences, and give each idle worker what is due for it."""
        queue = self.queue
        fail_all(queue.expire(now), _timed_out())
        queue.bind(self._idle)
        due_at = math.inf
        for worker in list(self._idle):
            if queue.is_due_for(worker, now):
                self._feed(worker, now)
            else:
                due_at = min(due_at, queue.due_at_for(worker))
        due_at = min(due_at, queue.next_end())
        if due_at < math.inf:
            self._set_timer(due_at, now)

    def _feed(self, worker: Worker, now: float) -> None:
        channel = worker.channel
        if channel is None or not channel.is_serving:
            self._idle.remove(worker)
            return
        batch = self._take(worker, now)
        if not batch:
            return
        if not self._send(channel, batch, now):
            self.queue.answered(batch, now)
            return
        self._idle.remove(worker)
        if self._watchdog is None:
            self._watch(self.response_timeout_s)

    def _take(self, worker: Worker, now: float, limit: int = 0) -> list[Job]:
        batch, expired = self.queue.take(worker, now, limit)
        for job in expired:
            job.expire()
        return batch

    def _send(self, channel: WorkerChannel, batch: list[Job], now: float) -> bool:
        try:
            channel.send_batch(batch, now)
        except ProtocolError as error:  # too large to be sent; nothing was
            fail_all(batch, error)
            return False
        return True

    def worker_free(self, worker: Worker, batch: Batch, service_us: int | None) -> None:
        """A worker answered a batch: its sequences may give it their next jobs."""
        if service_us is not None:
            self._metrics.predicted(batch, service_us)
        now = time.monotonic()
        self.queue.answered(batch.jobs, now)
        if not self._go_on(worker, batch, now, joining=True) and worker.channel is not None:
            self._idle.append(worker)
        self._dispatch(now)

    def _go_on(self, worker: Worker, batch: Batch, now: float, *, joining: bool) -> bool:
        """Whether the worker got another batch for the same jobs."""
        del worker, batch, now, joining
        return False

    # -- workers that leave take the state of their sequences with them ----------------------------

    def worker_lost(self, worker: Worker, channel: WorkerChannel | None, cause: TslError) -> None:
        """A process is gone: answer what it was working on, and what waited for it."""
        lost = self.queue.lose(worker)
        super().worker_lost(worker, channel, cause)
        fail_all(lost, _state_lost())

    def _give_up(self, worker: Worker, channel: WorkerChannel) -> None:
        lost = self.queue.lose(worker)
        super()._give_up(worker, channel)
        fail_all(lost, _state_lost())

    def _put_back(self, jobs: list[Job]) -> None:
        fail_all(jobs, _state_lost())

    def _review(self) -> None:
        """Some worker has changed: sequences are shared out among those that are left."""
        super()._review()
        living = sum(worker.is_healthy for worker in self.workers)
        self.queue.places = math.ceil(self.queue.max_sequences / max(living, 1))


class ContinuousSequencePool(SequencePool):
    """The same, with workers whose batches live on from step to step.

    Several jobs of a sequence may be active: the next one joins when the one before it has had a
    step. So a sequence can be told to stop what it is doing.
    """

    has_steps = True

    @property
    def _max_active(self) -> int:
        return 2 * self.queue.batch_size  # TorchServe's limit

    def _send(self, channel: WorkerChannel, batch: list[Job], now: float) -> bool:
        return send_step(channel, [], batch, now)

    def continue_batch(self, worker: Worker, batch: Batch) -> bool:
        """A worker that is to stop finishes what it has begun; nobody joins any more."""
        now = time.monotonic()
        self.queue.answered(batch.jobs, now)
        return self._go_on(worker, batch, now, joining=False)

    def _go_on(self, worker: Worker, batch: Batch, now: float, *, joining: bool) -> bool:
        active = remaining(batch)
        channel = worker.channel
        if not active:
            return False
        if channel is None or not channel.is_serving:
            fail_all(active, WorkerDied())
            return False
        room = self._max_active - len(active)
        fresh: list[Job] = []
        if joining and room > 0:
            self.queue.bind([worker])
            if not self.queue.begins_with_solo(worker):
                fresh = self._take(worker, now, room)
        is_sent = send_step(channel, active, fresh, now)
        self.queue.answered([job for job in active + fresh if job.is_settled], now)
        return is_sent


def _state_lost() -> TslError:
    return WorkerDied(
        "The worker that had the state of this sequence has ended, and the state with it.",
        hint="Begin a new sequence.",
    )


def _timed_out() -> TslError:
    return ServiceUnavailable(
        "The sequence has reached its sequenceTimeoutMSec.",
        hint="Begin a new one, or raise that setting.",
    )
