"""One sequence of jobs, and what one owner has of them; the rules are in `sequences`."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Protocol

from .jobs import Job

Owner = Hashable
"""Who serves sequences; in production, a worker."""


class SequenceHolder(Protocol):
    """The queue that a sequence belongs to."""

    def remove(self, sequence: Sequence, job: Job) -> bool:
        """Forget a job that waits; False when it is not there."""


class Sequence:
    """Jobs that belong together.

    Attributes:
        id: as the client named it; "" for a job that belongs to no sequence.
        owner: whose it is, None until somebody takes it.
        jobs: those that wait, in order.
        active: how many the owner has.
        is_held: the one handed out last has not been through a call yet.
        is_ending: it ends as soon as the owner has given back what it has; jobs that wait
            belong to the next sequence of that id.
        opened_at: when its first job arrived, ``time.monotonic()`` seconds.
    """

    __slots__ = (
        "_queue",
        "active",
        "id",
        "is_ending",
        "is_held",
        "jobs",
        "opened_at",
        "owner",
    )

    def __init__(self, queue: SequenceHolder, sequence_id: str, now: float) -> None:
        self._queue = queue
        self.id = sequence_id
        self.owner: Owner | None = None
        self.jobs: OrderedDict[int, Job] = OrderedDict()
        self.active = 0
        self.is_held = False
        self.is_ending = False
        self.opened_at = now

    def __repr__(self) -> str:
        return f"<Sequence {self.id!r} {len(self.jobs)} waiting, {self.active} active>"

    @property
    def head(self) -> Job:
        """The next job; there must be one."""
        return next(iter(self.jobs.values()))

    def remove(self, job: Job) -> bool:
        """Forget a job that waits; see `jobs.JobHolder`."""
        return self._queue.remove(self, job)


class Place:
    """What one owner has.

    Attributes:
        sequences: those that are bound to it, in order.
        solos: jobs that belong to no sequence.
        ready: which of both may give a job now, in the order in which they may.
        due_at: when their jobs become due by time.
    """

    __slots__ = ("due_at", "ready", "sequences", "solos")

    def __init__(self) -> None:
        self.sequences: dict[Sequence, None] = {}
        self.solos: dict[Sequence, None] = {}
        self.ready: OrderedDict[Sequence, None] = OrderedDict()
        self.due_at = math.inf
