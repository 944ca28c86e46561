"""Anything, in any order, for every kind of pool: each job has one end, and none waits in vain."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from tsl.frontend.pools import new_pool as choose_pool
from tsl.frontend.sequence_headers import SequenceHeaders, SequenceSink
from tsl.frontend.worker import Worker
from tsl.model_store import ModelConfig
from tsl.protocol.errors import HandlerFailed, NoWorkers, QueueFull
from tsl.protocol.frames import Chunk, Failure, Predict, Reply, Result

STEPS = {"continuous_batching": True}
SEQUENCES = {
    "sequence_batching": True,
    "sequence_max_idle_ms": 2000,
    "sequence_timeout_ms": 9000,
    "max_num_sequence": 4,
    "max_sequence_job_queue_size": 3,
}
KINDS = {
    "steps": STEPS,
    "async": {"async_communication": True},
    "sequences": SEQUENCES,
    "sequences-of-steps": {**SEQUENCES, **STEPS},
}
MORE = Reply(0, "", ["ts_stream_next", "true"], "", b"+")
LAST = Reply(0, "", ["ts_stream_next", "false"], "", b".")
ONLY = Reply(0, "", [], "", b"!")
BAD = Reply(0, "", [], HandlerFailed.code, b"?")


def ends_of(job):
    """How often a job has ended, as its client sees it."""
    sink = job.sink.inner if isinstance(job.sink, SequenceSink) else job.sink
    return sum(kind != "chunk" for kind, _ in sink.events)


class Chaos:
    """Random steps on a pool; after each of them what always holds is checked."""

    def __init__(self, rng, world, pool, launcher, new_job):
        self.rng = rng
        self.world = world
        self.pool = pool
        self.launcher = launcher
        self.new_job = new_job
        self.jobs = []
        self.refused = 0

    @property
    def alive(self):
        return [fake for fake in self.launcher.started if fake.returncode is None]

    def submit(self):
        now = self.world.now
        deadline = self.rng.choice([None, None, None, now + self.rng.random() * 3])
        headers = self.rng.choice([[], [b"seq", b"a"], [b"seq", b"b"], [b"seq", b"c"]])
        if self.rng.random() < 0.1:
            headers = [*headers, b"end", b"true"]
        job = self.new_job(f"j{len(self.jobs)}", now=now, deadline=deadline, headers=headers)
        self.jobs.append(job)
        try:
            self.pool.submit(job)
        except (NoWorkers, QueueFull) as error:
            self.refused += 1
            job.fail(error)

    def serve(self):
        """A worker loads, or says something about what it has."""
        if not self.alive:
            return
        fake = self.rng.choice(self.alive)
        if fake.transport is None:
            fake.load()
            return
        channel = fake.transport.protocol
        if fake.transport.is_closed or not channel.in_flight:
            return
        fake.received  # noqa: B018  # what is on its way arrives first
        batch = self.rng.choice(channel.batches) if channel._is_concurrent else channel.oldest
        if batch is None:
            return
        what = self.rng.random()
        if what < 0.1:
            fake.send(Failure(batch.id, HandlerFailed.code, "", 0))
        elif what < 0.3:
            fake.send(Chunk(batch.id, self.rng.randrange(len(batch.jobs)), 0, "", [], b"+"))
        else:
            ended = Reply(0, "", ["end", self.rng.choice("abc")], "", b"")
            replies = [self.rng.choice([MORE, MORE, LAST, ONLY, BAD, ended]) for _ in batch.jobs]
            fake.send(Result(batch.id, 50, replies))

    def lose(self):
        if self.alive:
            fake = self.rng.choice(self.alive)
            self.rng.choice([fake.end, fake.exit, fake.close])()

    def leave(self):
        if self.jobs:
            self.rng.choice(self.jobs).cancel()

    def wait(self):
        self.world.advance(self.rng.choice([0.01, 0.3, 1.0]))

    def scale(self):
        count = self.rng.randrange(1, 4)
        self.pool.scale(count, count)
        self.world.advance()

    def step(self):
        actions = [self.submit] * 8 + [self.serve] * 12 + [self.wait] * 3 + [self.leave, self.lose]
        self.rng.choice([*actions, self.scale])()
        self.check()

    def check(self):
        for job in self.jobs:
            assert ends_of(job) == job.is_settled
        held = [job for job in self.jobs if job.queue is not None and job.channel is None]
        assert len(self.pool.queue) == len(held)
        for fake in self.launcher.started:
            for frame in fake._received:
                if type(frame) is Predict:
                    ids = [row.request_id for row in frame.rows]
                    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("tickets", [False, True], ids=["queue", "tickets"])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_job_ends_once(
    world, launcher, listener, metrics, new_plan, new_job, settings, tickets, seed
):
    config = ModelConfig(
        batch_size=3, max_batch_delay_ms=200, response_timeout_s=10, job_queue_size=20,
        use_job_ticket=tickets, **settings,
    )  # fmt: skip
    load = new_plan().load._replace(is_async=config.async_communication)
    numbers = iter(range(9000, 9999))

    def new_worker(owner):
        return Worker(new_plan(next(numbers), load=load), launcher, listener, owner)

    version = SimpleNamespace(name="m", version="1.0", config=config)
    headers = SequenceHeaders("seq", "start", "end")
    pool = choose_pool(version, headers, new_worker, metrics)
    pool.scale(2, 2)
    world.advance()
    chaos = Chaos(random.Random(seed), world, pool, launcher, new_job)

    for _ in range(200):
        chaos.step()
    world.run(pool.close(20))

    assert all(ends_of(job) == 1 for job in chaos.jobs)
    assert pool.workers == []
    assert chaos.refused < len(chaos.jobs), "nothing was ever accepted"


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("seed", range(3))
def test_while_a_worker_serves_nothing_waits_for_ever(
    world, launcher, listener, metrics, new_plan, new_job, settings, seed
):
    """After any disorder, a worker that answers everything empties the queue."""
    config = ModelConfig(
        batch_size=2, max_batch_delay_ms=200, response_timeout_s=1000, job_queue_size=20, **settings
    )
    load = new_plan().load._replace(is_async=config.async_communication)
    version = SimpleNamespace(name="m", version="1.0", config=config)
    pool = choose_pool(
        version,
        SequenceHeaders("seq", "start", "end"),
        lambda owner: Worker(new_plan(load=load), launcher, listener, owner),
        metrics,
    )
    pool.scale(1, 1)
    world.advance()
    chaos = Chaos(random.Random(seed), world, pool, launcher, new_job)
    for _ in range(120):
        chaos.step() if chaos.rng.random() < 0.9 else chaos.submit()

    pool.scale(1, 1)
    for _ in range(200):
        world.advance(1.0)
        for fake in chaos.alive:
            if fake.transport is None:
                fake.load()
            elif not fake.transport.is_closed:
                fake.received  # noqa: B018
                for batch in fake.transport.protocol.batches:
                    fake.send(Result(batch.id, 50, [ONLY] * len(batch.jobs)))

    assert all(ends_of(job) == 1 for job in chaos.jobs)
    assert len(pool.queue) == 0
    world.run(pool.close(20))
