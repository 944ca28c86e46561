"""Asynchronous handlers: jobs are handed over as they come and answered in any order.

The handler of such a model (``asyncCommunication``) is a coroutine function; its worker runs an
event loop with one call per job. Nothing waits for a batch, and a job that takes too long is
given up alone: its call is cancelled, and only a worker that does not even do that is ended.
"""

from __future__ import annotations

import time
from typing import Final

from tsl.protocol.errors import ProtocolError, ResponseTimeout

from .batch_pool import BatchPool
from .worker import END_GRACE_S, Worker
from .worker_channel import Batch, SharedBatch, WorkerChannel, fail_all

MAX_CONCURRENT: Final = 1024
"""Jobs in one worker at a time; more of them wait in the queue."""


class AsyncPool(BatchPool):
    """Workers that serve many jobs at a time."""

    @property
    def places(self) -> int:
        """Jobs that could be handed over now."""
        return sum(MAX_CONCURRENT - channel.in_flight for channel in self._serving)

    def _dispatch(self, now: float) -> None:
        """Hand over all that waits, to the workers that have the least."""
        queue = self.queue
        while len(queue) and self._serving:
            channel = min(self._serving, key=_in_flight)
            if channel.in_flight >= MAX_CONCURRENT or not channel.is_serving:
                return
            self._send(channel, now)

    def _send(self, channel: WorkerChannel, now: float) -> bool:
        batch, expired = self.queue.take(now, 1)
        for job in expired:
            job.expire()
        if not batch:
            return False
        try:
            channel.send_shared(batch, now, SharedBatch)
        except ProtocolError as error:  # too large to be sent; nothing was
            fail_all(batch, error)
            return False
        if self._watchdog is None:
            self._watch(self.response_timeout_s)
        return True

    def worker_free(self, worker: Worker, batch: Batch, service_us: int | None) -> None:
        """A job was answered; there is room for another one."""
        if service_us is not None:
            self._metrics.predicted(batch, service_us)
        if len(self.queue):
            self._dispatch(time.monotonic())

    def _look_at(self, worker: Worker, channel: WorkerChannel | None, now: float) -> float | None:
        """Give up jobs one by one; a worker whose handler ignores that is ended."""
        if channel is None or not channel.in_flight:
            return None
        if channel.is_paused:
            return self.response_timeout_s
        next_look = self.response_timeout_s
        for batch in channel.batches:
            left = batch.active_at + self.response_timeout_s - now
            (job,) = batch.jobs
            if left <= 0 and job.fail(ResponseTimeout()):
                channel.cancel(batch, job)
            if left <= 0:
                left += END_GRACE_S
            if left <= 0:
                self._give_up(worker, channel)
                return self.response_timeout_s
            next_look = min(next_look, left)
        return next_look


def _in_flight(channel: WorkerChannel) -> int:
    return channel.in_flight
