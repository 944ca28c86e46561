"""Workers whose batches are made as `learned_policy` says.

What this adds to `BatchPool` is done once per round of dispatching and once per batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tsl.protocol.errors import TslError

from .arrival_rates import GRAIN_S
from .batch_pool import BatchPool
from .jobs import Job
from .learned_queue import LearnedQueue
from .worker import Worker, WorkerOwner
from .worker_channel import Batch, WorkerChannel
from .worker_pool import MetricSink


class LearnedPool(BatchPool):
    """`BatchPool` that tells its queue what the workers do, and how long they take.

    Args:
        name: model name and version for messages.
        queue: the version's queue.
        new_worker: makes another worker of this version (not started).
        response_timeout_s: how long a worker may be silent about a batch.
        metrics: where its metrics go.
    """

    queue: LearnedQueue

    def __init__(
        self,
        name: str,
        queue: LearnedQueue,
        new_worker: Callable[[WorkerOwner], Worker],
        response_timeout_s: float,
        metrics: MetricSink,
    ) -> None:
        super().__init__(name, queue, new_worker, response_timeout_s, metrics)
        self._transfer_s = 0.0  # what a batch takes beside the handler
        self._turn: asyncio.Handle | None = None

    def _pass_on(self, job: Job) -> bool:
        """Never: the queue learns from all that come."""
        del job
        return False

    def _dispatch(self, now: float) -> None:
        idle, queue = len(self._idle), self.queue
        if not idle and self.depth.depth == 1 and len(queue) < queue.batch_size:
            return
        queue.workers(idle, max(len(self._serving) - idle, 0))
        super()._dispatch(now)
        queue.settle()

    def _set_timer(self, due_at: float, now: float) -> None:
        """For less than a timer can tell, wait for the end of this turn of the event loop."""
        is_set = self._timer is not None and self._timer_at <= due_at
        if is_set or due_at - now >= GRAIN_S:
            super()._set_timer(due_at, now)
        elif self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn = None
        self.queue.give_up_waiting()
        self._dispatch(time.monotonic())

    def worker_free(self, worker: Worker, batch: Batch, service_us: int | None) -> None:
        """A worker answered a batch: learn from it, and let it take the next one."""
        first = batch.jobs[0]
        if service_us is None or first.is_solo:
            self.queue.ended(len(batch.jobs))
        else:
            now = time.monotonic()
            if self.depth.depth == 1:
                seconds = now - first.sent_at
                self._transfer_s += (seconds - service_us / 1e6 - self._transfer_s) / 16
            else:  # it waited behind others
                seconds = service_us / 1e6 + self._transfer_s
            self.queue.served(len(batch.jobs), seconds, now)
        super().worker_free(worker, batch, service_us)

    def worker_lost(self, worker: Worker, channel: WorkerChannel | None, cause: TslError) -> None:
        """A process is gone: see `BatchPool.worker_lost`."""
        if channel is not None:
            for batch in channel.batches:
                self.queue.ended(len(batch.jobs))
        super().worker_lost(worker, channel, cause)

    def _cancel_timers(self) -> None:
        super()._cancel_timers()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def describe_batching(self) -> dict[str, Any]:
        """What was learned, for describe."""
        return self.queue.learned.report()
