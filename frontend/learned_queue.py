"""A queue that asks a learned policy when a batch is due, and how large it is.

See `learned_policy` for the rules. The policy is told what happened once per batch. A request costs
what it costs in any queue; one that comes while a batch waits for company, two comparisons more.
"""

from __future__ import annotations

import math
from typing import Any, Final

from .batching import BatchPolicy, BatchQueue
from .jobs import Job
from .learned_policy import LearnedPolicy

_HASTE: Final = 1.5
"""A job with a deadline is sent when so many times its service time is left."""


class LearnedQueue(BatchQueue):
    """`BatchQueue` that decides by what it has learned.

    Args:
        batch_size: jobs per batch at most.
        max_delay_s: how long a batch waits for company at most, seconds.
        limits: ``capacity`` and ``capacity_bytes``, see `BatchQueue`.
    """

    def __init__(self, *, batch_size: int, max_delay_s: float, **limits: Any) -> None:
        super().__init__(
            batch_size=batch_size, max_delay_s=max_delay_s, policy=BatchPolicy.LEARNED, **limits
        )
        self.learned = LearnedPolicy(batch_size, self.max_delay_s)
        self._idle = 1  # workers, as `workers` was told
        self._busy = 0
        self._in_flight = 0
        self._answered_at = 0.0  # when the latest answer came
        self._latest_at = 0.0  # when the latest job came, as far as it matters
        self._target = 0  # jobs to wait for; 0 while nothing is decided
        self._until = 0.0
        self._decided_at = 0.0
        self._waited = 0  # jobs that were there then
        self._released = 0  # jobs that may go without another decision
        self._has_deadlines = False

    def workers(self, idle: int, busy: int) -> None:
        """Say who could take a batch; before each round of `is_due` and `take`.

        Args:
            idle: workers that have nothing to do.
            busy: workers that have.
        """
        self._idle = idle
        self._busy = busy
        if not busy:
            self._in_flight = 0

    def settle(self) -> None:
        """The round is over: what waits still is decided about anew by the next one."""
        if self._released:
            self._released = 0
            self.learned.left_behind()

    @property
    def wait_until(self) -> float | None:
        """Until when what waits is held back for company; None when it is not."""
        return self._until if self._target and len(self) else None

    def give_up_waiting(self) -> None:
        """What waits for company is due now."""
        self._until = 0.0

    def put(self, job: Job) -> None:
        """Append a job; see `BatchQueue.put`."""
        super().put(job)
        if job.deadline is not None:
            self._has_deadlines = True
            if self._latest(job.deadline) < self._until:
                self._until = 0.0  # it cannot wait as long as the others would

    def is_due(self, now: float, *, idle: bool = True) -> bool:
        """Whether a batch may be taken; see `BatchQueue.is_due`."""
        size = len(self._jobs)
        if size >= self.batch_size or not size:
            return size > 0
        if not idle:
            return self._solos > 0
        if self._target:
            return size >= self._target or now >= self._until or self._solos > 0
        return self._released > 0 or self._solos > 0 or self._decide(size, now)

    def _decide(self, size: int, now: float) -> bool:
        plan = self.learned.decide(size, self._idle, self._busy, now, afresh=self._is_afresh())
        self._decided_at = now
        self._waited = size
        if plan.target <= size:
            return True
        self._target = plan.target
        self._until = now + plan.wait_s
        if self._has_deadlines:
            deadlines = [job.deadline for job in self._jobs.values() if job.deadline is not None]
            self._has_deadlines = bool(deadlines)
            self._until = min(self._until, self._latest(min(deadlines, default=math.inf)))
        return now >= self._until

    def _is_afresh(self) -> bool:
        """Whether those that wait came after the latest answer."""
        return next(iter(self._jobs.values())).enqueued_at >= self._answered_at

    def _latest(self, deadline: float) -> float:
        return deadline - _HASTE * self.learned.fit.seconds(self.batch_size)

    def due_at(self) -> float | None:
        """When the waiting jobs become a due batch by time alone."""
        return self.wait_until

    def take(self, now: float, limit: int = 0) -> tuple[list[Job], list[Job]]:
        """Remove the next batch; see `BatchQueue.take`."""
        waiting = len(self._jobs)
        if not self._released and waiting:
            self._release(waiting, now)
        size = self.learned.size(waiting, self._idle, self._busy, self._in_flight) if waiting else 1
        batch, expired = super().take(now, min(limit or size, size))
        self._released = max(self._released - len(batch) - len(expired), 0)
        self._idle -= 1
        self._busy += 1
        self._in_flight += len(batch)
        self.learned.arrivals.count(len(batch), now, self.learned.fit.seconds(len(batch)))
        return batch, expired

    def _release(self, waiting: int, now: float) -> None:
        if not self._target:
            self._decided_at, self._waited = now, waiting
        if waiting > self.batch_size * max(self._idle, 1):
            self.learned.left_behind()
        else:
            times = [job.enqueued_at for job in self._jobs.values()]
            self._latest_at = times[-1]
            self.learned.released(times, self._waited, self._decided_at, afresh=self._is_afresh())
            if waiting < self._target and 0.0 < self._until <= now:  # not given up earlier
                self.learned.waited_in_vain(now)
        self._target = 0
        self._released = waiting

    def served(self, size: int, seconds: float, now: float) -> None:
        """A batch was answered.

        Args:
            size: its jobs.
            seconds: for how long its worker was occupied by it.
            now: ``time.monotonic()`` seconds.
        """
        jobs = self._jobs
        self._answered_at = now
        if jobs:
            self._latest_at = next(reversed(jobs.values())).enqueued_at
        self.learned.clients.answered(self._in_flight + len(jobs), self._latest_at, now)
        self.ended(size)
        self.learned.served(size, seconds)

    def ended(self, size: int) -> None:
        """A batch of so many jobs is no longer with a worker."""
        self._in_flight = max(self._in_flight - size, 0)

    def remove(self, job: Job) -> bool:
        """Take one job out, wherever it is; False when it is not here."""
        found = super().remove(job)
        if not self._jobs:
            self._target = 0
        return found

    def drain(self) -> list[Job]:
        """Remove and return everything."""
        self._target = self._released = 0
        return super().drain()
