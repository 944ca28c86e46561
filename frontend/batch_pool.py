"""Feed the workers of a usual model from its queue, batch by batch.

Workers pull: a batch leaves the queue when a worker can take it and it is due. Everything on the
way of a request is a plain call (`submit` → `_dispatch` → `WorkerChannel.send_batch`, and back
`worker_free` → `_dispatch`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tsl.protocol.errors import ProtocolError

from .batching import BatchQueue
from .jobs import Job
from .pipelining import PipelineDepth
from .worker import Worker, WorkerOwner
from .worker_channel import Batch, WorkerChannel, fail_all
from .worker_pool import MetricSink, WorkerPool


class BatchPool(WorkerPool):
    """Workers that take one batch after the other; quick ones get some ahead.

    Args:
        name: model name and version for messages.
        queue: the version's queue.
        new_worker: makes another worker of this version (not started).
        response_timeout_s: how long a worker may be silent about a batch.
        metrics: where its metrics go.
    """

    queue: BatchQueue

    def __init__(
        self,
        name: str,
        queue: BatchQueue,
        new_worker: Callable[[WorkerOwner], Worker],
        response_timeout_s: float,
        metrics: MetricSink,
    ) -> None:
        super().__init__(name, queue, new_worker, response_timeout_s, metrics)
        self.depth = PipelineDepth()

    @property
    def pending(self) -> int:
        """Jobs that nobody works on yet, be they in the queue or at a busy worker."""
        return len(self.queue) + self.queue.ahead

    @property
    def places(self) -> int:
        """Workers that wait for a job."""
        return len(self._idle)

    def _pass_on(self, job: Job) -> bool:
        """Send a job that need not wait for company: nobody is before it, and workers are quick."""
        queue, serving = self.queue, self._serving
        if (
            self.depth.depth == 1
            or queue.batch_size > 1
            or len(queue)
            or self._idle
            or not serving
            or job.deadline is not None
        ):
            return False
        channel = serving[0] if len(serving) == 1 else min(serving, key=_in_flight)
        if channel.in_flight >= self.depth.depth or not channel.is_serving:
            return False
        job.queue = queue  # where it goes if its worker is lost
        self._send_jobs(channel, [job], time.monotonic())
        return True

    def _dispatch(self, now: float) -> None:
        """Give due batches to workers that can take them; then set the timer for the rest."""
        queue, idle = self.queue, self._idle
        while idle and queue.is_due(now):
            worker = idle.popleft()
            channel = worker.channel
            if channel is not None and channel.is_serving and not self._send(channel, now):
                idle.appendleft(worker)  # all that waited had expired
        if self.depth.depth > 1:
            self._dispatch_ahead(now)
        elif queue.batch_size <= len(queue) and self.depth.has_spare(len(self._serving)):
            self._dispatch_spare(now)
        due_at = queue.due_at() if idle else None  # a busy worker needs no timer
        if due_at is not None:
            self._set_timer(due_at, now)

    def _dispatch_ahead(self, now: float) -> None:
        """All workers are busy, but quick: keep a few batches in flight to each."""
        serving, queue, depth = self._serving, self.queue, self.depth.depth
        while serving:
            channel = serving[0] if len(serving) == 1 else min(serving, key=_in_flight)
            if channel.in_flight >= depth or not queue.is_due(now, idle=False):
                return
            if not channel.is_serving:
                return
            self._send(channel, now)

    def _dispatch_spare(self, now: float) -> None:
        """All workers are busy, and not quick: let a full batch wait at each."""
        for channel in self._serving:
            if not self.queue.is_full_batch():
                break
            if channel.in_flight == 1 and channel.is_serving:
                self._send(channel, now)
        self._count_ahead()

    def _count_ahead(self) -> None:
        """Jobs that wait at a worker of a slower model keep their places in the queue."""
        channels = [worker.channel for worker in self.workers if worker.channel is not None]
        waiting = [batch for channel in channels for batch in channel.batches[1:]]
        self.queue.ahead = sum(len(batch.jobs) for batch in waiting)

    def _send(self, channel: WorkerChannel, now: float) -> bool:
        batch, expired = self.queue.take(now)
        for job in expired:
            job.expire()
        return bool(batch) and self._send_jobs(channel, batch, now)

    def _send_jobs(self, channel: WorkerChannel, batch: list[Job], now: float) -> bool:
        try:
            channel.send_batch(batch, now)
        except ProtocolError as error:  # too large to be sent; nothing was
            fail_all(batch, error)
            return False
        if self._watchdog is None:
            self._watch(self.response_timeout_s)
        return True

    def worker_free(self, worker: Worker, batch: Batch, service_us: int | None) -> None:
        """A worker answered a batch: let it take the next one."""
        if service_us is not None:
            self.depth.observe(service_us)
            self._metrics.predicted(batch, service_us)
        channel = worker.channel
        if channel is not None:
            if not channel.in_flight:
                self._idle.append(worker)
            elif self.depth.depth == 1:
                channel.begin_next()
        if self.queue.ahead:
            self._count_ahead()
        if len(self.queue):
            self._dispatch(time.monotonic())

    def _put_back(self, jobs: list[Job]) -> None:
        if self.queue.ahead:
            self._count_ahead()
        if not jobs:
            return
        if self.can_serve:
            self.queue.put_back(jobs)
            self._dispatch(time.monotonic())
        else:
            fail_all(jobs, self._unavailable())


def _in_flight(channel: WorkerChannel) -> int:
    return channel.in_flight
