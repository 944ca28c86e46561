"""Sequences as a stateful machine: whatever happens, in whatever order.

Nothing is lost, nothing is handed out twice; a sequence's jobs are handed out in order, one at a
time, by one owner as long as it lives; the limits hold; and at the end nothing is stuck.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tsl.frontend.jobs import Job, JobState
from tsl.frontend.sequence_headers import SequenceHeaders
from tsl.frontend.sequences import SequenceQueue
from tsl.protocol.errors import QueueFull, WorkerDied
from tsl.protocol.frames import Reply, Row

HEADERS = SequenceHeaders("seq", "start", "end")
IDS = st.sampled_from("abc")
OWNERS = st.sampled_from("vw")


class Sink:
    """Counts ends."""

    def __init__(self):
        self.ends = 0

    def finish(self, job, reply):
        self.ends += 1

    def fail(self, job, error):
        self.ends += 1


class Sequences(RuleBasedStateMachine):
    @initialize(
        batch_size=st.integers(1, 4),
        max_sequences=st.integers(1, 4),
        max_waiting=st.integers(1, 3),
        places=st.integers(1, 4),
        timeout_s=st.sampled_from([0.0, 20.0]),
    )
    def create(self, batch_size, max_sequences, max_waiting, places, timeout_s):
        self.queue = SequenceQueue(
            headers=HEADERS,
            capacity_bytes=1000,
            batch_size=batch_size,
            max_delay_s=1.0,
            max_sequences=max_sequences,
            max_waiting=max_waiting,
            max_idle_s=5.0,
            timeout_s=timeout_s,
        )
        self.queue.places = places
        self.max_waiting = max_waiting
        self.now = 100.0
        self.waiting = {name: [] for name in "abc"}  # the model
        self.active = {"v": [], "w": []}  # what each owner has
        self.called = {"v": [], "w": []}  # which of these are in the call that runs
        self.is_over = dict.fromkeys("abc", False)  # nothing may be handed out until all is back
        self.settled = []
        self.made = 0
        self.refused = 0

    # -- events

    @rule(name=IDS, is_last=st.booleans(), limit=st.sampled_from([None, None, 0.5, 3.0]))
    def put(self, name, is_last, limit):
        self.made += 1
        headers = [b"seq", name.encode(), *([b"end", b"true"] if is_last else [])]
        deadline = None if limit is None else self.now + limit
        job = Job(Row(f"{name}{self.made}", headers, [], []), Sink(), self.now, deadline)
        try:
            self.queue.put(job)
        except QueueFull:
            self.refused += 1
        else:
            self.waiting[name].append(job)

    @rule(owner=OWNERS, limit=st.integers(0, 3), others=st.booleans())
    def call(self, owner, limit, others):
        """An owner that is not in a call takes what it can get, and calls with all it has."""
        if self.called[owner]:
            return
        self.queue.bind("vw" if others else [owner])
        batch, expired = self.queue.take(owner, self.now, limit)
        for job in expired:
            assert job.deadline <= self.now
            self.waiting[name_of(job)].remove(job)
            assert job.expire()
            self.settled.append(job)
        assert len(batch) <= (limit or self.queue.batch_size)
        names = [name_of(job) for job in batch]
        assert len(set(names)) == len(names), "two jobs of a sequence begin together"
        for name, job in zip(names, batch, strict=True):
            assert self.waiting[name][0] is job, "out of order"
            del self.waiting[name][0]
            assert not self.is_over[name], "a job behind the end of its sequence"
            elsewhere = [each for o, jobs in self.active.items() if o != owner for each in jobs]
            assert name not in map(name_of, elsewhere), "a sequence with two owners"
            self.is_over[name] = job.sink.is_last
            job.state = JobState.SENT
            job.queue = None
        self.active[owner] += batch
        self.called[owner] = list(self.active[owner])

    @rule(owner=OWNERS, ends=st.booleans(), stay=st.integers(0, 3))
    def answer(self, owner, ends, stay):
        """A call ends; the first few of its jobs go on."""
        jobs, self.called[owner] = self.called[owner], []
        for job in jobs[stay:]:
            if ends:
                self.is_over[name_of(job)] = True
            headers = ["end", name_of(job)] if ends else []
            if job.finish(Reply(0, "", headers, "", b"")):
                self.settled.append(job)
        self.queue.answered(jobs, self.now)
        self.active[owner] = [job for job in self.active[owner] if not job.is_settled]
        self.forget_ends()

    def forget_ends(self):
        busy = {name_of(job) for jobs in self.active.values() for job in jobs}
        for name in "abc":
            self.is_over[name] = self.is_over[name] and name in busy

    @rule(owner=OWNERS)
    def lose(self, owner):
        lost = self.queue.lose(owner)
        for job in self.active[owner]:
            if job.fail(WorkerDied()):
                self.settled.append(job)
        self.active[owner], self.called[owner] = [], []
        self.drop(lost, WorkerDied())
        self.forget_ends()

    @rule(name=IDS, at=st.integers(0, 3))
    def withdraw(self, name, at):
        if self.waiting[name]:
            job = self.waiting[name].pop(at % len(self.waiting[name]))
            assert job.cancel()
            self.settled.append(job)

    @rule(owner=OWNERS)
    def leave(self, owner):
        """A client leaves whose job is in a call."""
        for job in self.called[owner][:1]:
            job.batch = job.channel = None
            if job.cancel():
                self.settled.append(job)

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0]))
    def pass_time(self, seconds):
        self.now += seconds
        old = self.queue.expire(self.now)
        for job in old:
            self.is_over[name_of(job)] = True
        self.drop(old, WorkerDied())
        self.forget_ends()

    @rule(name=IDS)
    def end(self, name):
        self.queue.end(name)
        self.is_over[name] = True
        self.forget_ends()

    @rule()
    def drain(self):
        """Nobody is left, and nobody comes."""
        self.drop(self.queue.drain(), WorkerDied())
        for owner in "vw":
            self.lose(owner)
        assert len(self.queue) == 0

    def drop(self, jobs, error):
        for job in jobs:
            self.waiting[name_of(job)].remove(job)
            assert job.fail(error)
            self.settled.append(job)

    # -- what always holds

    @invariant()
    def counts_are_exact(self):
        waiting = [job for jobs in self.waiting.values() for job in jobs]
        assert len(self.queue) == len(waiting)
        assert self.queue.size_bytes == sum(job.size_bytes for job in waiting)

    @invariant()
    def limits_hold(self):
        assert len(self.queue._open) <= self.queue.max_sequences
        assert all(len(jobs) <= self.max_waiting for jobs in self.waiting.values())

    @invariant()
    def nothing_is_lost_or_answered_twice(self):
        waiting = [job for jobs in self.waiting.values() for job in jobs]
        out = [job for jobs in self.active.values() for job in jobs if not job.is_settled]
        assert len(waiting) + len(out) + len(self.settled) + self.refused == self.made
        assert all(job.sink.inner.ends == 1 for job in self.settled)
        assert all(job.sink.inner.ends == 0 for job in waiting + out)

    def teardown(self):
        """Whatever has happened: who asks long enough gets everything that waits."""
        if not hasattr(self, "queue"):
            return
        for _ in range(3 * self.made + 3):
            for owner in "vw":
                self.answer(owner, ends=False, stay=0)
                self.call(owner, 0, others=False)
            if not len(self.queue):
                break
            self.pass_time(6.0)  # sequences that are silent make room for others
        assert len(self.queue) == 0, self.queue
        for owner in "vw":
            self.answer(owner, ends=False, stay=0)
        self.pass_time(1000.0)
        assert self.queue.next_end() == float("inf"), "a sequence that never ends"
        assert not self.queue._active
        assert not any(p.sequences or p.ready or p.solos for p in self.queue._owned.values())


def name_of(job):
    return job.row.request_id[:1]


Sequences.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestSequences = Sequences.TestCase
