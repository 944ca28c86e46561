"""A job as a stateful machine: in whatever order things happen, it ends exactly once."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tsl.frontend.batching import BatchQueue
from tsl.frontend.jobs import Job, JobState
from tsl.protocol.errors import WorkerDied
from tsl.protocol.frames import Chunk, Part, Reply, Row


class Sink:
    """Notes what it hears, in order."""

    def __init__(self):
        self.heard = []

    def finish(self, job, reply):
        self.heard.append("end")

    def chunk(self, job, chunk):
        self.heard.append("chunk")

    def fail(self, job, error):
        self.heard.append("end")


class Channel:
    """Notes which jobs it is told to cancel."""

    def __init__(self):
        self.cancelled = []

    def cancel(self, batch, job):
        self.cancelled.append(job)


class Life(RuleBasedStateMachine):
    """One job with neighbours in its queue; a worker may take it, answer it or be lost."""

    @initialize(before=st.integers(0, 2), after=st.integers(0, 2))
    def arrive(self, before, after):
        self.queue = BatchQueue(capacity=10, capacity_bytes=1000, batch_size=10)
        self.channel = Channel()
        self.sink = Sink()
        self.job = self.new_job(self.sink)
        self.neighbours = [self.new_job(Sink()) for _ in range(before + after)]
        for job in [*self.neighbours[:before], self.job, *self.neighbours[before:]]:
            self.queue.put(job)
        self.is_sent = False
        self.ends = 0
        self.chunks = 0

    @staticmethod
    def new_job(sink):
        return Job(Row("r", [], [], [Part("body", "", b"abc")]), sink, 0.0)

    @precondition(lambda self: not self.is_sent and not self.ends)
    @rule()
    def send(self):
        batch, expired = self.queue.take(0.0)
        assert expired == []
        for job in batch:
            job.state, job.batch, job.channel = JobState.SENT, batch, self.channel
        self.is_sent = True

    @precondition(lambda self: self.is_sent)
    @rule()
    def lose_the_worker_before_it_began(self):
        self.queue.put_back([job for job in [self.job, *self.neighbours] if not job.is_settled])
        self.is_sent = False

    @precondition(lambda self: self.is_sent)
    @rule()
    def stream(self):
        heard = self.job.stream(Chunk(1, 0, 0, "", [], b""))
        assert heard == (not self.ends)
        self.chunks += heard

    @precondition(lambda self: self.is_sent)
    @rule()
    def finish(self):
        self.end(self.job.finish(Reply(200, "", [], "", b"")))

    @rule()
    def fail(self):
        if not self.is_sent:
            self.queue.remove(self.job)  # as draining does
        self.end(self.job.fail(WorkerDied()))

    @rule(name=st.sampled_from(["cancel", "expire"]))
    def withdraw(self, name):
        told = len(self.channel.cancelled)
        first = getattr(self.job, name)()
        assert len(self.channel.cancelled) == told + (first and self.is_sent)
        self.end(first)

    def end(self, is_first):
        assert is_first == (not self.ends)
        self.ends += is_first

    @invariant()
    def the_sink_hears_at_most_one_end_and_it_comes_last(self):
        assert self.sink.heard == ["chunk"] * self.chunks + ["end"] * self.ends
        assert self.job.is_settled == bool(self.ends)

    @invariant()
    def the_queue_has_it_only_while_it_waits(self):
        waits = not self.is_sent and not self.ends
        others = 0 if self.is_sent else len(self.neighbours)
        assert len(self.queue) == others + waits
        assert self.queue.size_bytes == 3 * len(self.queue)


TestLife = Life.TestCase
