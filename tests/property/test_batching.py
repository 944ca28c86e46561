"""Batching as a stateful machine beside the simplest model of it: a plain list.

Whatever is put in, taken, put back, withdrawn or drained, in whatever order: nothing is lost,
nothing is handed out twice, the order is kept, no batch is too large, no expired job is handed
out, and the bytes are counted exactly.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tsl.frontend.batching import BatchPolicy, BatchQueue
from tsl.frontend.jobs import Job, JobState
from tsl.protocol.errors import QueueFull
from tsl.protocol.frames import Part, Reply, Row


class Sink:
    """Counts ends."""

    def __init__(self):
        self.ends = 0

    def finish(self, job, reply):
        self.ends += 1

    def fail(self, job, error):
        self.ends += 1


class Queueing(RuleBasedStateMachine):
    batches = Bundle("batches")

    @initialize(
        capacity=st.integers(0, 12),
        capacity_bytes=st.integers(0, 60),
        batch_size=st.integers(1, 5),
        max_delay_s=st.sampled_from([0.0, 0.5, 3.0]),
        policy=st.sampled_from(BatchPolicy),
    )
    def create(self, capacity, capacity_bytes, batch_size, max_delay_s, policy):
        self.queue = BatchQueue(
            capacity=capacity,
            capacity_bytes=capacity_bytes,
            batch_size=batch_size,
            max_delay_s=max_delay_s,
            policy=policy,
        )
        self.delay_s = max_delay_s if batch_size > 1 else 0.0
        self.waiting = []  # the model
        self.out = []  # with a worker
        self.settled = []
        self.refused = 0
        self.now = 100.0
        self.made = 0

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 4.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(size=st.integers(0, 30), limit=st.sampled_from([None, None, 0.0, 0.5, 2.0]))
    def put(self, size, limit):
        self.made += 1
        deadline = None if limit is None else self.now + limit
        row = Row(f"r{self.made}", [], [], [Part("body", "", b"x" * size)])
        job = Job(row, Sink(), self.now, deadline)
        full = len(self.waiting) >= self.queue.capacity
        held = sum(other.size_bytes for other in self.waiting)
        heavy = bool(self.waiting) and held + size > self.queue.capacity_bytes
        try:
            self.queue.put(job)
        except QueueFull:
            assert full or heavy
            self.refused += 1
        else:
            assert not full
            assert not heavy
            self.waiting.append(job)

    @rule(target=batches)
    def take(self):
        batch, expired = self.queue.take(self.now)

        expected, late = [], []
        while self.waiting and len(expected) < self.queue.batch_size:
            job = self.waiting.pop(0)
            is_late = job.deadline is not None and job.deadline <= self.now
            (late if is_late else expected).append(job)
        assert batch == expected
        assert expired == late
        for job in batch:
            job.state = JobState.SENT
        for job in expired:
            assert job.expire()
        self.settled += expired
        self.out += batch
        return batch

    @rule(batch=batches)
    def put_back(self, batch):
        fresh = [job for job in batch if job in self.out]
        self.queue.put_back(fresh)
        self.out = [job for job in self.out if job not in fresh]
        self.waiting = fresh + self.waiting

    @rule(batch=batches)
    def answer(self, batch):
        for job in batch:
            if job in self.out:
                assert job.finish(Reply(200, "", [], "", b""))
                self.out.remove(job)
                self.settled.append(job)

    @rule(batch=batches)
    def put_back_answered_jobs(self, batch):
        self.queue.put_back([job for job in batch if job.is_settled])

    @rule(at=st.integers(0, 20), expire=st.booleans())
    def withdraw(self, at, expire):
        if self.waiting:
            job = self.waiting.pop(at % len(self.waiting))
            assert job.expire() if expire else job.cancel()
            self.settled.append(job)

    @rule()
    def drain(self):
        assert self.queue.drain() == self.waiting
        for job in self.waiting:
            job.cancel()
        self.settled += self.waiting
        self.waiting = []

    # -- what always holds

    @invariant()
    def counts_are_exact(self):
        assert len(self.queue) == len(self.waiting)
        assert self.queue.size_bytes == sum(job.size_bytes for job in self.waiting)

    @invariant()
    def nothing_is_lost_or_answered_twice(self):
        assert len(self.waiting) + len(self.out) + len(self.settled) + self.refused == self.made
        assert all(job.sink.ends == 1 for job in self.settled)
        assert all(job.sink.ends == 0 for job in self.waiting + self.out)

    @invariant()
    def due_is_as_the_rules_say(self):
        full = len(self.waiting) >= self.queue.batch_size
        if not self.waiting:
            assert not self.queue.is_due(self.now)
            assert self.queue.due_at() is None
            return
        due_at = self.waiting[0].enqueued_at + self.delay_s
        assert self.queue.due_at() == due_at
        if self.queue.policy is BatchPolicy.EAGER:
            assert self.queue.is_due(self.now)
            assert self.queue.is_due(self.now, idle=False) == full
        else:
            assert self.queue.is_due(self.now) == (full or self.now >= due_at)
            assert self.queue.is_due(due_at)


TestQueueing = Queueing.TestCase
