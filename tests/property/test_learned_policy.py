"""Whatever a learned policy was told: its plans and sizes are within bounds, and nothing is lost."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tsl.frontend.jobs import Job
from tsl.frontend.learned_policy import LearnedPolicy
from tsl.frontend.learned_queue import LearnedQueue
from tsl.frontend.service_fit import ServiceFit
from tsl.protocol.frames import Part, Row

SIZES = st.integers(1, 300)
SECONDS = st.floats(0, 100)


@given(st.lists(st.tuples(SIZES, SECONDS), min_size=1, max_size=80), SIZES)
def test_a_fit_is_never_absurd(batches, asked):
    fit = ServiceFit()

    for size, seconds in batches:
        fit.observe(size, seconds)

    most = max(max(seconds for _, seconds in batches), 1e-9)
    assert math.isfinite(fit.seconds(asked))
    assert 0 <= fit.seconds(asked) <= 10 * most * max(1, asked)
    assert fit.fixed_s >= -1e-6 * most
    assert fit.per_job_s >= 0


@given(
    batch_size=st.integers(1, 40),
    max_delay_s=st.sampled_from([0.0, 0.01, 0.1]),
    batches=st.lists(st.tuples(SIZES, st.floats(1e-5, 1)), max_size=40),
    bursts=st.lists(st.lists(st.floats(0, 0.05), min_size=1, max_size=20), max_size=10),
    waiting=st.integers(1, 60),
    idle=st.integers(1, 4),
    busy=st.integers(0, 4),
)
def test_decisions_are_within_bounds(batch_size, max_delay_s, batches, bursts, waiting, idle, busy):
    policy = LearnedPolicy(batch_size, max_delay_s)
    for size, seconds in batches:
        policy.served(min(size, batch_size), seconds)
    now = 0.0
    for gaps in bursts:
        times = []
        for gap in gaps:
            now += gap
            times.append(now)
        policy.released(times, 1, times[0])

    plan = policy.plan(waiting, idle, busy)
    size = policy.size(waiting, idle, busy, busy * 3)

    assert plan.target >= waiting
    assert 0 <= plan.wait_s <= max_delay_s
    assert plan.target == waiting or waiting < plan.target <= batch_size * idle
    assert 1 <= size <= min(waiting, batch_size)
    policy.report()


class Sink:
    def fail(self, job, error):
        pass


@given(
    batch_size=st.integers(1, 6),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from([None, 0.01, 5.0])),
            st.tuples(st.just("pass"), st.floats(0, 0.2)),
            st.tuples(st.just("take"), st.integers(0, 3)),
            st.tuples(st.just("leave"), st.integers(0, 5)),
        ),
        max_size=60,
    ),
)
def test_nothing_is_lost_and_everything_is_due_in_time(batch_size, steps):
    queue = LearnedQueue(
        batch_size=batch_size, max_delay_s=0.1, capacity=1000, capacity_bytes=10**6
    )
    now, made, out = 100.0, [], []
    for kind, value in steps:
        if kind == "put":
            deadline = None if value is None else now + value
            job = Job(Row("", [], [], [Part("body", "", b"x")]), Sink(), now, deadline)
            made.append(job)
            queue.put(job)
        elif kind == "pass":
            now += value
        elif kind == "leave" and made:
            made[value % len(made)].cancel()
        elif kind == "take":
            queue.workers(value, 3 - value)
            for _ in range(value):
                if not queue.is_due(now):
                    break
                batch, expired = queue.take(now)
                assert len(batch) <= batch_size
                out += batch
                for job in expired:
                    job.expire()
                if batch:
                    queue.served(len(batch), 0.001 * len(batch), now)
            queue.settle()
            until = queue.due_at()
            assert until is None or until <= now + 0.1

    waiting = [job for job in made if not job.is_settled and job not in out]
    assert len(queue) == len(waiting)
    assert len(set(map(id, out))) == len(out)
    left = []
    while len(queue):
        queue.workers(1, 0)
        now += 0.1
        queue.is_due(now)
        assert queue.is_due(now + 0.1)
        batch, expired = queue.take(now + 0.1)
        queue.settle()
        left += batch + expired
    assert sorted(map(id, left)) == sorted(map(id, waiting))
