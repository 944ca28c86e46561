"""Bounded queue that decides when a batch is due; time is a parameter.

The queue belongs to one model version. It never does I/O, never reads a clock and never calls a
worker: `BatchPool` puts jobs in, asks `is_due`, and takes batches out. So every rule of
batching can be tested as plain arithmetic.

Rules:

* ``WINDOW`` (TorchServe's): a batch is due when it is full, or ``max_delay_s`` after its first
  job *arrived*. TorchServe opens the window when a worker takes the first job; for an idle
  worker that is the same moment, and a job that has waited long enough behind a busy worker is
  not made to wait again.
* ``EAGER``: a batch is due as soon as there is a job; batches form while all workers are busy.
* ``LEARNED``: `learned_queue` decides; this queue knows nothing of it.
* Order is kept. Expired and cancelled jobs are never handed out, and do not use up room.
* A solo job (a description) is a batch of its own, and closes the batch before it at once.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from itertools import islice
from typing import Final

from tsl.protocol.errors import QueueFull

from .jobs import QUEUED, Job

MAX_BATCH_BYTES: Final = 1024 * 1024 * 1024
"""Bodies of one batch: a worker takes frames of 2 GiB, so larger requests go in smaller batches."""


class BatchPolicy(Enum):
    """When to stop waiting for company."""

    WINDOW = "window"
    EAGER = "eager"
    LEARNED = "learned"


class BatchQueue:
    """Jobs of one model version, in order of arrival.

    Args:
        capacity: jobs at most; a further one is refused.
        capacity_bytes: bytes of request bodies at most. A single job larger than that is let
            in when the queue is empty, else it could never be served.
        batch_size: jobs per batch at most, at least 1.
        max_delay_s: how long the first job of a batch waits for company, seconds.
        policy: when a batch is due.

    Attributes:
        ahead: jobs that wait at busy workers; they still have their places here.
    """

    def __init__(
        self,
        *,
        capacity: int,
        capacity_bytes: int,
        batch_size: int = 1,
        max_delay_s: float = 0.0,
        policy: BatchPolicy = BatchPolicy.WINDOW,
    ) -> None:
        self.capacity = capacity
        self.capacity_bytes = capacity_bytes
        self.batch_size = batch_size
        self.max_delay_s = max_delay_s if batch_size > 1 else 0.0
        self.policy = policy
        self.size_bytes = 0
        self.ahead = 0
        self._due_at = 0.0  # of the jobs that wait now; without meaning when none does
        self._solos = 0  # how many of them are solo jobs
        # An ordered dict, because clients leave from the middle and lost batches return to the front.
        self._jobs: OrderedDict[int, Job] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def __repr__(self) -> str:
        return f"<BatchQueue {len(self._jobs)}/{self.capacity} jobs, {self.size_bytes} bytes>"

    def is_full_batch(self) -> bool:
        """Whether the next batch has all the company it can have, and none of it is in a hurry."""
        size = self.batch_size
        if len(self._jobs) < size:
            return False
        return all(job.deadline is None for job in islice(self._jobs.values(), size))

    # Putting jobs in...

    def put(self, job: Job) -> None:
        """Append a job.

        Raises:
            QueueFull: the limit of jobs or of bytes is reached; nothing was changed.
        """
        jobs = self._jobs
        if len(jobs) + self.ahead >= self.capacity:
            msg = f"The job queue of the model is full ({self.capacity} jobs are waiting)."
            raise QueueFull(msg, hint="Try again later, add workers, or raise job_queue_size.")
        if jobs and self.size_bytes + job.size_bytes > self.capacity_bytes:
            msg = f"The job queue of the model is full ({self.size_bytes} bytes are waiting)."
            raise QueueFull(msg, hint="Try again later, add workers, or raise job_queue_bytes.")
        if not jobs:
            self._due_at = job.enqueued_at + self.max_delay_s
        jobs[id(job)] = job
        job.queue = self
        self.size_bytes += job.size_bytes
        if job.is_solo:
            self._solos += 1

    def put_back(self, jobs: list[Job]) -> None:
        """Return jobs to the front, in their order: their worker went away before it began.

        They were admitted once, so the limits do not apply again. A job that has had its end
        stays out: answering one job of a lost worker can make the client of another one leave.
        """
        for job in reversed(jobs):
            if job.is_settled:
                continue
            job.state = QUEUED
            job.batch = job.channel = None
            self._jobs[id(job)] = job
            self._jobs.move_to_end(id(job), last=False)
            self.size_bytes += job.size_bytes
            self._solos += job.is_solo
        self._first_changed()

    # ...deciding...

    def is_due(self, now: float, *, idle: bool = True) -> bool:
        """Whether a batch may be taken.

        Args:
            now: ``time.monotonic()`` seconds.
            idle: whether it would go to an idle worker; for one that is still busy an eager
                queue gives away full batches only.
        """
        size = len(self._jobs)
        if size >= self.batch_size:
            return True
        if not size:
            return False
        if self._solos:
            return True
        if self.policy is BatchPolicy.EAGER:
            return idle
        return now >= self._due_at

    def due_at(self) -> float | None:
        """When the waiting jobs become a due batch by time alone; None for an empty queue."""
        return self._due_at if self._jobs else None

    # ...and taking them out.

    def take(self, now: float, limit: int = 0) -> tuple[list[Job], list[Job]]:
        """Remove the next batch.

        Args:
            now: ``time.monotonic()`` seconds.
            limit: jobs at most; 0 for ``batch_size``.

        Returns:
            The batch, 0 to ``limit`` jobs; and the jobs met on the way whose deadline has
            passed, which are not in it.
        """
        batch: list[Job] = []
        expired: list[Job] = []
        jobs = self._jobs
        room = MAX_BATCH_BYTES
        limit = limit or self.batch_size
        if self._solos:
            limit = min(limit, self._before_solo(now))
        while jobs and len(batch) < limit:
            job = jobs.popitem(last=False)[1]
            if job.deadline is not None and job.deadline <= now:
                expired.append(job)
            elif batch and job.size_bytes > room:
                jobs[id(job)] = job
                jobs.move_to_end(id(job), last=False)
                break
            else:
                batch.append(job)
                room -= job.size_bytes
            self.size_bytes -= job.size_bytes
        if self._solos:
            self._solos -= sum(job.is_solo for job in (*batch, *expired))
        self._first_changed()
        return batch, expired

    @property
    def begins_with_solo(self) -> bool:
        """Whether the next batch is a solo job."""
        return self._solos > 0 and next(iter(self._jobs.values())).is_solo

    def _before_solo(self, now: float) -> int:
        """How many jobs may go together: all before the first solo job, or that one alone."""
        count = 0
        for job in self._jobs.values():
            if job.deadline is not None and job.deadline <= now:
                continue
            if job.is_solo:
                return max(count, 1)
            count += 1
        return count

    def remove(self, job: Job) -> bool:
        """Take one job out, wherever it is; False when it is not here."""
        if self._jobs.pop(id(job), None) is None:
            return False
        self.size_bytes -= job.size_bytes
        self._solos -= job.is_solo
        self._first_changed()
        return True

    def drain(self) -> list[Job]:
        """Remove and return everything."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        self.size_bytes = 0
        self._solos = 0
        return jobs

    def _first_changed(self) -> None:
        for job in self._jobs.values():
            self._due_at = job.enqueued_at + self.max_delay_s
            return
