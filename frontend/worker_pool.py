"""Keep the right number of workers for one model version, and see that every job has an end.

What a worker gets, and when, is decided by the kinds of pools: `BatchPool` for usual models, and
see `pools` for the others. Two timers exist per model version, however many jobs there are: one
for the moment when something becomes due, one that watches for the response timeout. Only a job
with a deadline of its own has a timer of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tsl.protocol.errors import NoWorkers, ShuttingDown, TslError
from tsl.protocol.frames import MetricRecord

from .jobs import Job
from .worker import Worker, WorkerOwner
from .worker_channel import Batch, WorkerChannel, fail_all
from .worker_state import WorkerState

logger = logging.getLogger(__name__)


class MetricSink(Protocol):
    """Where the metrics of one model version go."""

    def record(self, records: list[MetricRecord]) -> None:
        """Take what a handler recorded."""

    def predicted(self, batch: Batch, service_us: int) -> None:
        """A batch was answered after ``service_us`` microseconds in the handler."""

    def loaded(self, label: str, milliseconds: float) -> None:
        """The worker that ``label`` names became ready, so long after its start."""


class JobQueue(Protocol):
    """What every pool needs of its queue; see `batching` and `sequences`."""

    @property
    def capacity(self) -> int:
        """Jobs that may wait."""

    def __len__(self) -> int: ...

    def put(self, job: Job) -> None:
        """Take a job in; raises `QueueFull`."""

    def is_due(self, now: float) -> bool:
        """Whether a worker may be able to take something."""

    def drain(self) -> list[Job]:
        """Remove and return everything."""


class WorkerPool(WorkerOwner):
    """The workers of one model version.

    Args:
        name: model name and version for messages.
        queue: the version's queue.
        new_worker: makes another worker of this version (not started).
        response_timeout_s: how long a worker may be silent about a batch.
        metrics: where its metrics go.
    """

    def __init__(
        self,
        name: str,
        queue: JobQueue,
        new_worker: Callable[[WorkerOwner], Worker],
        response_timeout_s: float,
        metrics: MetricSink,
    ) -> None:
        self.name = name
        self.queue = queue
        self.workers: list[Worker] = []
        self.min_workers = 0
        self.max_workers = 0
        self.response_timeout_s = response_timeout_s
        self._new_worker = new_worker
        self._metrics = metrics
        self.can_serve = False
        """Whether a job that waits now will be served: some worker serves, or is coming."""
        self._serving: list[WorkerChannel] = []
        self._idle: deque[Worker] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._is_closing = False

    def __repr__(self) -> str:
        states = ", ".join(worker.state.name for worker in self.workers)
        return f"<{type(self).__name__} {self.name} [{states}] {self.queue!r}>"

    has_steps = False

    @property
    def pending(self) -> int:
        """Jobs that nobody works on yet."""
        return len(self.queue)

    @property
    @abstractmethod
    def places(self) -> int:
        """Jobs that workers could take now; asked only for models with job tickets."""

    # -- the way of a job ------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Accept a job; from here on it is answered exactly once.

        Raises:
            NoWorkers: there is no worker, and none is coming.
            QueueFull: the queue's limits are reached.
            ShuttingDown: the version is being unregistered, or the server stopped.
        """
        if not self.can_serve:
            raise self._unavailable()
        if self._pass_on(job):
            return
        self.queue.put(job)
        now = time.monotonic()  # a pipelined request may have waited long for its turn
        if job.deadline is not None:
            delay = max(job.deadline - now, 0.0)
            job.timer = asyncio.get_running_loop().call_later(delay, job.expire)
        if self._timer is None or self.queue.is_due(now):
            self._dispatch(now)
        # else: an idle worker waits for company of this job, and the timer is set for both

    def _pass_on(self, job: Job) -> bool:
        """Whether a job has gone to a worker without having waited at all."""
        del job
        return False

    @abstractmethod
    def _dispatch(self, now: float) -> None:
        """Give what is due to workers that can take it; then set the timer for the rest."""

    def continue_batch(self, worker: Worker, batch: Batch) -> bool:
        """Nothing is left of a usual batch when it has been answered."""
        del worker, batch
        return False

    @abstractmethod
    def _put_back(self, jobs: list[Job]) -> None:
        """Decide about jobs that a lost worker had got and not begun."""

    # -- time --------------------------------------------------------------------------------

    def _set_timer(self, due_at: float, now: float) -> None:
        """Dispatch again at ``due_at``, or earlier."""
        if self._timer is not None and self._timer_at <= due_at:
            return  # a timer that rings early finds nothing due, and is set again
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due_at
        delay = max(due_at - now, 0.001)
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch(time.monotonic())

    def _watch(self, delay_s: float) -> None:
        self._watchdog = asyncio.get_running_loop().call_later(delay_s, self._on_watchdog)

    def _on_watchdog(self) -> None:
        """Time out workers that are silent; look again when the next one could be."""
        self._watchdog = None
        now = time.monotonic()
        looks = [self._look_at(worker, worker.channel, now) for worker in self.workers]
        left = [seconds for seconds in looks if seconds is not None]
        if left and self._watchdog is None:
            self._watch(max(min(left), 0.001))

    def _look_at(self, worker: Worker, channel: WorkerChannel | None, now: float) -> float | None:
        """Time out a worker that is silent.

        Returns:
            In how many seconds it could be silent for too long; None when it has nothing to do.
        """
        batch = channel.oldest if channel is not None else None
        if channel is None or batch is None:
            return None
        left = batch.active_at + self.response_timeout_s - now
        if channel.is_paused:
            return self.response_timeout_s
        if left > 0:
            return left
        self._give_up(worker, channel)
        return self.response_timeout_s

    def _give_up(self, worker: Worker, channel: WorkerChannel) -> None:
        """End a worker that does not answer, and answer in its place."""
        worker.time_out()
        self._review()
        begun, fresh = channel.lose()
        fail_all(begun, worker.verdict)
        self._put_back(fresh)

    # -- what workers report -------------------------------------------------------------------

    def worker_ready(self, worker: Worker) -> None:
        """A worker serves: it is idle."""
        if worker.started_at is not None:
            taken = datetime.now(UTC) - worker.started_at
            self._metrics.loaded(worker.plan.label, taken / timedelta(milliseconds=1))
        self._idle.append(worker)
        self._review()
        self._dispatch(time.monotonic())

    def worker_changed(self, worker: Worker) -> None:
        """A worker's process has ended: give it nothing more."""
        if worker in self._idle:
            self._idle.remove(worker)
        self._review()

    def worker_lost(self, worker: Worker, channel: WorkerChannel | None, cause: TslError) -> None:
        """A process is gone: answer what it was working on, keep what it had not begun."""
        if worker in self._idle:
            self._idle.remove(worker)
        self._review()
        if channel is not None:
            begun, fresh = channel.lose()
            fail_all(begun, cause)
            self._put_back(fresh)

    def worker_ended(self, worker: Worker) -> None:
        """A worker will not come back by itself."""
        if worker.state is WorkerState.STOPPED and worker in self.workers:
            self.workers.remove(worker)
        self._review()

    def worker_metrics(self, worker: Worker, records: list[MetricRecord]) -> None:
        """Hand a handler's metrics on."""
        del worker
        self._metrics.record(records)

    # -- the number of workers -----------------------------------------------------------------

    @property
    def ready_count(self) -> int:
        """Workers that serve."""
        return sum(worker.is_serving for worker in self.workers)

    @property
    def jobs_in_flight(self) -> int:
        """Jobs that workers have and have not answered."""
        channels = (worker.channel for worker in self.workers)
        return sum(channel.jobs_in_flight for channel in channels if channel is not None)

    @property
    def is_healthy(self) -> bool:
        """TorchServe's rule for ``/ping``: at least ``min_workers`` healthy workers."""
        return sum(worker.is_healthy for worker in self.workers) >= self.min_workers

    def scale(self, min_workers: int, max_workers: int) -> list[Worker]:
        """Make the number of workers lie between the two; does not wait.

        Abandoned workers count as missing and are replaced.

        Returns:
            The workers that were started.
        """
        self.min_workers, self.max_workers = min_workers, max_workers
        for worker in [w for w in self.workers if w.state is WorkerState.ABANDONED]:
            worker.stop("replaced")
        living = [w for w in self.workers if w.state is not WorkerState.STOPPING]
        for worker in living[max_workers:]:
            worker.stop("scaled down")
        started = [self._new_worker(self) for _ in range(min_workers - len(living))]
        self.workers.extend(started)
        for worker in started:
            worker.start()
        self._review()
        return started

    async def wait_ready(self, workers: list[Worker]) -> None:
        """Return when all of these serve.

        Raises:
            LoadFailed, LoadOutOfMemory: one of them cannot load its handler.
            NoWorkers: one of them was stopped meanwhile.
        """
        while True:
            for worker in workers:
                if worker.load_failure is not None:
                    raise worker.load_failure
                if not worker.is_healthy:
                    raise NoWorkers(f"A worker of {self.name} was stopped while it was starting.")
            if all(worker.is_serving for worker in workers):
                return
            await self._next_change()

    async def wait_settled(self) -> None:
        """Return when no worker is on its first way up any more: each serves or has failed."""
        while any(
            w.state in (WorkerState.STARTING, WorkerState.LOADING) and w.load_failure is None
            for w in self.workers
        ):
            await self._next_change()

    async def close(self, timeout_s: float) -> None:
        """Finish what is in flight, refuse what waits, stop all workers.

        Args:
            timeout_s: after this many seconds workers are killed.
        """
        self._is_closing = True
        self._review()
        workers = list(self.workers)
        for worker in workers:
            worker.stop("unregistered")
        waiting = asyncio.gather(*(worker.wait_gone() for worker in workers))
        try:
            await asyncio.wait_for(waiting, timeout_s)
        except TimeoutError:
            for worker in workers:
                worker.kill()
            await asyncio.gather(*(worker.wait_gone() for worker in workers))
        self._cancel_timers()

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._watchdog):
            if timer is not None:
                timer.cancel()
        self._timer = self._watchdog = None

    def _review(self) -> None:
        """Some worker has changed: look at all of them once, so that requests need not."""
        living = [w for w in self.workers if w.is_healthy and w.state is not WorkerState.STOPPING]
        could_serve, self.can_serve = self.can_serve, bool(living) and not self._is_closing
        if could_serve and not self.can_serve and not self._is_closing:
            self._note_end()
        channels = [w.channel for w in living if w.channel is not None]
        self._serving = [channel for channel in channels if channel.is_serving]
        if not self.can_serve:
            fail_all(self.queue.drain(), self._unavailable())
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        await self._changed.wait()

    def _note_end(self) -> None:
        """Requests are refused from now on: say why, once."""
        if not self.max_workers:
            logger.info("%s has no worker any more: it was scaled to none", self.name)
            return
        failures = [worker.last_failure for worker in self.workers if worker.last_failure]
        reason = failures[-1] if failures else "all were stopped"
        logger.error("%s has no worker left: %s", self.name, reason)

    def _unavailable(self) -> TslError:
        if self._is_closing:
            return ShuttingDown("The model is being unregistered.")
        return NoWorkers(
            f"{self.name} has no worker to serve the request.",
            hint="PUT /models/MODEL/VERSION?min_worker=1 on the management port adds one.",
        )
