"""Jobs are handed over as they come, and end in any order."""

from __future__ import annotations

import pytest

from tsl.frontend.async_pool import MAX_CONCURRENT, AsyncPool
from tsl.frontend.jobs import JobState
from tsl.frontend.worker import END_GRACE_S
from tsl.protocol.codec import MAX_HEADER_BYTES
from tsl.protocol.errors import (
    HandlerFailed,
    JobCancelled,
    ProtocolError,
    ResponseTimeout,
    WorkerDied,
)
from tsl.protocol.frames import Cancel, Failure


@pytest.fixture
def serving(new_serving, new_plan):
    """Makes an asynchronous pool with loaded workers."""

    def make(workers=1, **arguments):
        plan = {"load": new_plan().load._replace(is_async=True)}
        return new_serving(workers, kind=AsyncPool, plan=plan, **arguments)

    return make


def test_jobs_do_not_wait_for_each_other(serving, submit):
    pool, (fake,) = serving()

    for name in "abc":
        submit(pool, name)

    assert fake.batches == [["a"], ["b"], ["c"]]


def test_answers_come_in_any_order(serving, submit):
    pool, (fake,) = serving()
    jobs = [submit(pool, name, body=name.encode()) for name in "abc"]
    assert len(fake.batches) == 3

    for number in (2, 3, 1):
        fake.answer(number)

    assert [job.sink.body for job in jobs] == [b"a", b"b", b"c"]


def test_streams_are_mixed(serving, submit):
    pool, (fake,) = serving()
    a, b = submit(pool, "a"), submit(pool, "b")
    assert len(fake.batches) == 2

    fake.stream(2, 0, b"b1")
    fake.stream(1, 0, b"a1")
    fake.answer(2)

    assert [kind for kind, _ in a.sink.events] == ["chunk"]
    assert [kind for kind, _ in b.sink.events] == ["chunk", "finish"]


def test_a_last_answer_ends_a_job_whatever_its_headers_say(serving, submit):
    pool, (fake,) = serving()
    job = submit(pool, "a")
    assert fake.batches == [["a"]]

    fake.step(1, a="more")

    assert job.state is JobState.DONE


def test_an_error_is_answered_to_its_own_job(serving, submit):
    pool, (fake,) = serving()
    a, b = submit(pool, "a"), submit(pool, "b")
    assert len(fake.batches) == 2

    fake.send(Failure(1, HandlerFailed.code, "", 0))

    assert isinstance(a.sink.error, HandlerFailed)
    assert not b.is_settled


def test_jobs_are_spread_over_the_workers(serving, submit):
    pool, fakes = serving(workers=2)

    for name in "abcd":
        submit(pool, name)

    assert [fake.batches for fake in fakes] == [[["a"], ["c"]], [["b"], ["d"]]]


def test_there_is_a_limit_for_one_worker(serving, submit):
    pool, (fake,) = serving(capacity=MAX_CONCURRENT)
    for number in range(MAX_CONCURRENT + 2):
        submit(pool, str(number))
    assert len(pool.queue) == 2
    assert pool.places == 0
    assert len(fake.batches) == MAX_CONCURRENT

    fake.answer(7)

    assert len(pool.queue) == 1


def test_a_job_that_is_too_slow_is_given_up_alone(world, serving, submit):
    pool, (fake,) = serving(response_timeout_s=5)
    a = submit(pool, "a")
    world.advance(3)
    b = submit(pool, "b")

    world.advance(2.5)
    assert isinstance(a.sink.error, ResponseTimeout)
    assert Cancel(1, 0) in fake.received
    fake.send(Failure(1, JobCancelled.code, "", 0))
    fake.answer(2)

    assert b.sink.body == b"x"
    assert fake.signals == []


def test_a_worker_that_does_not_even_cancel_is_ended(world, serving, submit):
    pool, (fake,) = serving(response_timeout_s=5)
    a = submit(pool, "a")
    world.advance(4)
    b = submit(pool, "b")

    world.advance(1.5 + END_GRACE_S)

    assert isinstance(a.sink.error, ResponseTimeout)
    assert isinstance(b.sink.error, ResponseTimeout)
    assert fake.signals


def test_a_stream_that_goes_on_is_not_too_slow(world, serving, submit):
    pool, (fake,) = serving(response_timeout_s=5)
    job = submit(pool, "a")
    for _ in range(4):
        world.advance(4)
        fake.stream(1, 0, b"more")

    fake.answer(1)

    assert job.state is JobState.DONE


def test_all_jobs_of_a_dead_worker_fail(world, serving, submit):
    pool, (fake,) = serving()
    jobs = [submit(pool, name) for name in "ab"]
    assert len(fake.batches) == 2

    fake.end(1)
    world.advance()

    assert [type(job.sink.error) for job in jobs] == [WorkerDied] * 2


def test_a_worker_that_is_to_stop_finishes_what_it_has(world, serving, submit):
    pool, (fake,) = serving()
    jobs = [submit(pool, name) for name in "ab"]
    assert len(fake.batches) == 2

    pool.scale(0, 0)
    assert fake.is_told_to_stop
    fake.answer(2)
    fake.answer(1)

    assert [job.sink.body for job in jobs] == [b"x"] * 2


def test_a_job_whose_deadline_passed_is_not_handed_over(world, serving, submit):
    pool, (fake,) = serving()

    late = submit(pool, "late", deadline=world.now)

    assert late.state is JobState.EXPIRED
    assert fake.batches == []


def test_a_job_that_fits_no_frame_is_refused(serving, submit):
    pool, (fake,) = serving()

    huge = submit(pool, "huge", headers=[b"x" * MAX_HEADER_BYTES, b""])

    assert isinstance(huge.sink.error, ProtocolError)
    assert fake.batches == []
