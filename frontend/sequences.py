"""Queue of a stateful model: jobs in sequences, sequences bound to workers; time is a parameter.

Like `batching.BatchQueue`, this does no I/O, reads no clock and calls no worker. Owners (in
production, workers) are opaque: they are compared, nothing else.

Rules:

* The first job with an id opens a *sequence*. There is a limit for their number, and one for the
  jobs of each that may wait.
* A new sequence waits until an owner that can take a batch has a place for it. It stays with that
  owner until it ends.
* A batch has jobs of different sequences of one owner, at most one of each, and no job is handed
  out before the one before it in its sequence has been through a call. So jobs of a sequence are
  served one after the other, in order, by the worker that has their state.
* A batch is due when it is full, when no further sequence can add to it, or ``max_delay_s`` after
  its first job arrived.
* A sequence ends when it was silent for ``max_idle_s``, when it is ``timeout_s`` old, when its
  client or its handler says so, or with its owner. A later job of the same id opens a new one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from tsl.protocol.errors import QueueFull

from .batching import MAX_BATCH_BYTES, BatchPolicy
from .jobs import Job
from .sequence import Owner, Place, Sequence
from .sequence_headers import SequenceHeaders, SequenceSink


class SequenceQueue:
    """The jobs of one stateful model version.

    Args:
        headers: finds the sequence of a request.
        capacity_bytes: bytes of request bodies that may wait.
        batch_size: jobs per batch at most.
        max_delay_s: how long the first job of a batch waits for others.
        policy: when a batch is due.
        max_sequences: sequences at a time.
        max_waiting: jobs of one sequence that may wait.
        max_idle_s: when a silent sequence ends.
        timeout_s: when any sequence ends; 0.0 for never.

    Attributes:
        places: sequences that one owner may have.
    """

    def __init__(
        self,
        *,
        headers: SequenceHeaders,
        capacity_bytes: int,
        batch_size: int,
        max_delay_s: float,
        policy: BatchPolicy = BatchPolicy.WINDOW,
        max_sequences: int,
        max_waiting: int,
        max_idle_s: float,
        timeout_s: float = 0.0,
    ) -> None:
        self.capacity = max_sequences * max_waiting
        self.capacity_bytes = capacity_bytes
        self.batch_size = batch_size
        self.max_delay_s = max_delay_s if batch_size > 1 else 0.0
        self.policy = policy
        self.max_sequences = max_sequences
        self.places = max_sequences
        self.size_bytes = 0
        self._headers = headers
        self._max_waiting = max_waiting
        self._max_idle_s = max_idle_s
        self._timeout_s = timeout_s or math.inf
        self._size = 0
        self._now = 0.0  # the latest time anybody has told
        self._open: OrderedDict[str, Sequence] = OrderedDict()  # by `opened_at`
        self._pending: OrderedDict[Sequence, None] = OrderedDict()
        self._idle: OrderedDict[Sequence, float] = OrderedDict()  # by the time they became so
        self._owned: dict[Owner, Place] = {}
        self._active: dict[int, Sequence] = {}  # by job that an owner has

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return (
            f"<SequenceQueue {len(self._open)}/{self.max_sequences} sequences, {self._size} jobs>"
        )

    # Putting jobs in...

    def put(self, job: Job) -> None:
        """Append a job to its sequence, or open one for it.

        Raises:
            QueueFull: there are too many sequences, or jobs of this one, or bytes.
        """
        if self._size and self.size_bytes + job.size_bytes > self.capacity_bytes:
            msg = f"The job queue of the model is full ({self.size_bytes} bytes are waiting)."
            raise QueueFull(msg, hint="Try again later, add workers, or raise job_queue_bytes.")
        if job.is_solo:
            self._append(Sequence(self, "", job.enqueued_at), job)
            return
        self._now = max(self._now, job.enqueued_at)
        found = self._headers.find(job.row)
        sequence = self._open.get(found.id)
        if sequence is None:
            if len(self._open) >= self.max_sequences:
                msg = f"The model serves {self.max_sequences} sequences already."
                raise QueueFull(
                    msg, hint="Try again when one has ended or is idle, or raise maxNumSequence."
                )
            sequence = Sequence(self, found.id, job.enqueued_at)
            self._open[found.id] = sequence
        elif len(sequence.jobs) >= self._max_waiting:
            msg = f"{self._max_waiting} requests of the sequence are waiting already."
            raise QueueFull(msg, hint="Wait for their answers, or raise maxSequenceJobQueueSize.")
        self._headers.complete(job, found)
        job.sink = SequenceSink(job.sink, self, self._headers, found)
        self._append(sequence, job)

    def _append(self, sequence: Sequence, job: Job) -> None:
        sequence.jobs[id(job)] = job
        job.queue = sequence
        self._size += 1
        self.size_bytes += job.size_bytes
        self._idle.pop(sequence, None)
        self._offer(sequence)

    def _offer(self, sequence: Sequence) -> None:
        """Make a sequence's next job available, if it may be."""
        if not sequence.jobs or sequence.is_held or sequence.is_ending:
            return
        if sequence.owner is None:
            self._pending.setdefault(sequence)
            return
        place = self._owned[sequence.owner]
        if sequence not in place.ready:
            place.ready[sequence] = None
            place.due_at = min(place.due_at, self._due_at(sequence))

    def _due_at(self, sequence: Sequence) -> float:
        if self.policy is BatchPolicy.EAGER or not sequence.id:
            return -math.inf
        return sequence.head.enqueued_at + self.max_delay_s

    # ...binding sequences...

    def bind(self, owners: Iterable[Owner]) -> None:
        """Give waiting sequences to owners that have a place, the one with the fewest first.

        Args:
            owners: those that can take a batch now.
        """
        if not self._pending:
            return
        free = [(owner, self._owned.setdefault(owner, Place())) for owner in owners]
        for sequence in list(self._pending) if free else ():
            owner, place = min(free, key=_held)
            if sequence.id and len(place.sequences) >= self.places:
                continue
            del self._pending[sequence]
            sequence.owner = owner
            (place.sequences if sequence.id else place.solos)[sequence] = None
            self._offer(sequence)

    # ...deciding...

    def is_due(self, now: float) -> bool:
        """Whether it is worth while to look for a batch: always, for there are many owners."""
        del now
        return True

    def is_due_for(self, owner: Owner, now: float) -> bool:
        """Whether an owner may take a batch."""
        place = self._owned.get(owner)
        if place is None or not place.ready:
            return False
        ready = len(place.ready)
        # Sequences that have no place yet cannot join it either.
        return ready >= self.batch_size or ready >= self.places or now >= place.due_at

    def due_at_for(self, owner: Owner) -> float:
        """When an owner's waiting jobs become due by time alone; infinity when there is none."""
        place = self._owned.get(owner)
        return place.due_at if place is not None and place.ready else math.inf

    # ...and taking them out.

    def take(self, owner: Owner, now: float, limit: int = 0) -> tuple[list[Job], list[Job]]:
        """Remove the next batch of an owner.

        Args:
            owner: whose.
            now: ``time.monotonic()`` seconds.
            limit: jobs at most; 0 for ``batch_size``.

        Returns:
            The batch, each job of another sequence; and the jobs met on the way whose deadline
            has passed, which are not in it.
        """
        batch: list[Job] = []
        expired: list[Job] = []
        place = self._owned.get(owner)
        if place is None:
            return batch, expired
        room = MAX_BATCH_BYTES
        limit = limit or self.batch_size
        while place.ready and len(batch) < limit:
            sequence = next(iter(place.ready))
            job = sequence.head
            if job.deadline is not None and job.deadline <= now:
                self.remove(sequence, job)
                expired.append(job)
                continue
            if batch and (job.is_solo or job.size_bytes > room):
                break
            self._hand_out(place, sequence, job)
            batch.append(job)
            room -= job.size_bytes
            if job.is_solo:
                break
        self._ready_changed(place)
        return batch, expired

    def begins_with_solo(self, owner: Owner) -> bool:
        """Whether the next batch of an owner is a job that must be alone."""
        place = self._owned.get(owner)
        return place is not None and bool(place.ready) and not next(iter(place.ready)).id

    def _hand_out(self, place: Place, sequence: Sequence, job: Job) -> None:
        del place.ready[sequence]
        self._drop(sequence, job)
        sequence.active += 1
        sequence.is_held = True
        self._active[id(job)] = sequence
        if isinstance(job.sink, SequenceSink) and job.sink.is_last:
            sequence.is_ending = True

    def _drop(self, sequence: Sequence, job: Job) -> bool:
        if sequence.jobs.pop(id(job), None) is None:
            return False
        self._size -= 1
        self.size_bytes -= job.size_bytes
        return True

    def _ready_changed(self, place: Place) -> None:
        place.due_at = min(map(self._due_at, place.ready), default=math.inf)

    def remove(self, sequence: Sequence, job: Job) -> bool:
        """Take one job out, wherever it is; False when it is not here."""
        if not self._drop(sequence, job):
            return False
        if not sequence.jobs:
            self._pending.pop(sequence, None)
        if sequence.owner is not None:
            place = self._owned[sequence.owner]
            if not sequence.jobs:
                place.ready.pop(sequence, None)
            self._ready_changed(place)
        self._rest(sequence)
        return True

    # What becomes of a sequence...

    def answered(self, jobs: Iterable[Job], now: float) -> None:
        """An owner has been through a call with these jobs; those that are settled are done."""
        self._now = max(self._now, now)
        for job in jobs:
            sequence = self._active.get(id(job))
            if sequence is None:  # its owner was lost, or everything drained
                continue
            sequence.is_held = False
            if job.is_settled:
                del self._active[id(job)]
                sequence.active -= 1
            self._rest(sequence)

    def _rest(self, sequence: Sequence) -> None:
        """Decide how it goes on with a sequence that has changed."""
        if sequence.active and (sequence.is_ending or sequence.is_held):
            return
        if not sequence.active and (sequence.is_ending or not sequence.id):
            self._close(sequence)
            if sequence.jobs:
                self._reopen(sequence)
        elif sequence.jobs:
            self._offer(sequence)
        elif not sequence.active:
            if sequence.owner is None:
                self._close(sequence)  # all its jobs left before anybody took it
            else:
                self._idle[sequence] = self._now

    def _close(self, sequence: Sequence) -> None:
        """Forget a sequence; the jobs in it, if there are any, stay in it."""
        if self._open.get(sequence.id) is sequence:
            del self._open[sequence.id]
        self._pending.pop(sequence, None)
        self._idle.pop(sequence, None)
        if sequence.owner is not None:
            place = self._owned.get(sequence.owner)
            if place is not None:
                place.sequences.pop(sequence, None)
                place.solos.pop(sequence, None)
                place.ready.pop(sequence, None)
                self._ready_changed(place)
        sequence.owner = None

    def _reopen(self, sequence: Sequence) -> None:
        """What waits came after the end of its sequence: it is the next one of that id."""
        sequence.is_ending = sequence.is_held = False
        sequence.opened_at = self._now
        self._open[sequence.id] = sequence
        self._offer(sequence)

    def end(self, sequence_id: str) -> None:
        """Somebody who knows says that a sequence is over."""
        sequence = self._open.get(sequence_id)
        if sequence is not None:
            sequence.is_ending = True
            self._withdraw(sequence)
            self._rest(sequence)

    def _withdraw(self, sequence: Sequence) -> None:
        """What waits belongs to the next sequence of the id: it is not this owner's any more."""
        place = self._owned.get(sequence.owner) if sequence.owner is not None else None
        if place is not None and sequence in place.ready:
            del place.ready[sequence]
            self._ready_changed(place)

    # ...in time...

    def expire(self, now: float) -> list[Job]:
        """End sequences that are silent or old.

        Returns:
            Jobs of old ones that were still waiting; they are not in the queue any more.
        """
        self._now = max(self._now, now)
        while self._idle:
            sequence, since = next(iter(self._idle.items()))
            if since + self._max_idle_s > now:
                break
            self._close(sequence)
        lost: list[Job] = []
        for sequence in self._old(now):
            if not sequence.is_ending:
                lost += self._empty(sequence)
            self.end(sequence.id)
            if sequence.active:  # it ends when its owner gives back what it has
                self._open.move_to_end(sequence.id)
                sequence.opened_at = now
        return lost

    def _empty(self, sequence: Sequence) -> list[Job]:
        jobs = list(sequence.jobs.values())
        for job in jobs:
            self._drop(sequence, job)
        return jobs

    def _old(self, now: float) -> list[Sequence]:
        if self._timeout_s == math.inf:
            return []
        old = []
        for sequence in self._open.values():
            if sequence.opened_at + self._timeout_s > now:
                break
            old.append(sequence)
        return old

    def next_end(self) -> float:
        """When the next sequence ends by time; infinity when none does."""
        idle = next(iter(self._idle.values()), math.inf) + self._max_idle_s
        oldest = next((each.opened_at for each in islice(self._open.values(), 1)), math.inf)
        return min(idle, oldest + self._timeout_s)

    # ...and with its owner.

    def lose(self, owner: Owner) -> list[Job]:
        """An owner is gone, and with it the state of its sequences: they end.

        Returns:
            The jobs of them that were waiting; they are not in the queue any more.
        """
        place = self._owned.pop(owner, None)
        if place is None:
            return []
        self._active = {key: each for key, each in self._active.items() if each.owner != owner}
        lost: list[Job] = []
        for sequence in (*place.sequences, *place.solos):
            lost += self._empty(sequence)
            sequence.owner = None
            self._close(sequence)
        return sorted(lost, key=_arrival)

    def drain(self) -> list[Job]:
        """Remove and return everything that waits, in order of arrival; all sequences end."""
        waiting = {id(job): job for each in self._all() for job in each.jobs.values()}
        for sequence in self._all():
            sequence.jobs.clear()
            sequence.owner = None
        self._open.clear()
        self._pending.clear()
        self._idle.clear()
        self._owned.clear()
        self._active.clear()
        self._size = self.size_bytes = 0
        return sorted(waiting.values(), key=_arrival)

    def _all(self) -> list[Sequence]:
        solos = [each for place in self._owned.values() for each in place.solos]
        return [*self._open.values(), *self._pending, *solos]


def _held(owned: tuple[Owner, Place]) -> int:
    return len(owned[1].sequences)


def _arrival(job: Job) -> float:
    return job.enqueued_at
