"""Continuous batching: jobs join and leave a running batch between two calls of the handler.

Made for handlers that generate token by token (``continuousBatching``). A worker that has nothing
waits for its first batch like any other. One that is at work takes whatever waits at each step,
without waiting for company.
"""

from __future__ import annotations

import time

from tsl.protocol.errors import WorkerDied

from .batch_pool import BatchPool
from .jobs import Job
from .steps import remaining, send_step
from .worker import Worker
from .worker_channel import Batch, WorkerChannel, fail_all


class ContinuousPool(BatchPool):
    """Workers whose batches live on from step to step."""

    has_steps = True

    @property
    def places(self) -> int:
        """Rows for which there is room at the next step of any worker."""
        size = self.queue.batch_size
        active = sum(len(batch.jobs) for each in self._serving for batch in each.batches)
        return size * len(self._serving) - active

    def _send(self, channel: WorkerChannel, now: float) -> bool:
        batch, expired = self.queue.take(now)
        for job in expired:
            job.expire()
        if not batch or not send_step(channel, [], batch, now):
            return False
        if self._watchdog is None:
            self._watch(self.response_timeout_s)
        return True

    def worker_free(self, worker: Worker, batch: Batch, service_us: int | None) -> None:
        """A step is done: go on with those that are left, and those that have come."""
        if service_us is not None:
            self._metrics.predicted(batch, service_us)
        if self._go_on(worker, batch, joining=True):
            return
        if worker.channel is not None:
            self._idle.append(worker)
        if len(self.queue):
            self._dispatch(time.monotonic())

    def continue_batch(self, worker: Worker, batch: Batch) -> bool:
        """A worker that is to stop finishes what it has begun; nobody joins any more."""
        return self._go_on(worker, batch, joining=False)

    def _go_on(self, worker: Worker, batch: Batch, *, joining: bool) -> bool:
        active = remaining(batch)
        channel = worker.channel
        if not active:
            return False
        if channel is None or not channel.is_serving:
            fail_all(active, WorkerDied())
            return False
        now = time.monotonic()
        room = self.queue.batch_size - len(active)
        fresh: list[Job] = []
        if joining and room > 0 and len(self.queue) and not self.queue.begins_with_solo:
            fresh, expired = self.queue.take(now, room)
            for job in expired:
                job.expire()
        return send_step(channel, active, fresh, now)
