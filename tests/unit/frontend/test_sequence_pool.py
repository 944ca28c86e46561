"""Sequences, workers and time together."""

from __future__ import annotations

import pytest

from tsl.frontend.jobs import JobState, SoloJob
from tsl.frontend.sequence_headers import SequenceHeaders
from tsl.frontend.sequence_pool import ContinuousSequencePool, SequencePool
from tsl.frontend.sequences import SequenceQueue
from tsl.protocol.codec import MAX_HEADER_BYTES
from tsl.protocol.errors import (
    NoWorkers,
    ProtocolError,
    QueueFull,
    ResponseTimeout,
    ServiceUnavailable,
    WorkerDied,
)
from tsl.protocol.frames import Reply, Result

HEADERS = SequenceHeaders("seq", "start", "end")


@pytest.fixture
def serving(new_serving):
    """Makes a pool for sequences with loaded workers."""

    def make(workers=1, *, kind=SequencePool, response_timeout_s=120, **settings):
        queue = SequenceQueue(
            **{
                "headers": HEADERS,
                "capacity_bytes": 10**6,
                "batch_size": 4,
                "max_delay_s": 0.0,
                "max_sequences": 4,
                "max_waiting": 3,
                "max_idle_s": 60.0,
                **settings,
            }
        )
        return new_serving(workers, kind=kind, queue=queue, response_timeout_s=response_timeout_s)

    return make


@pytest.fixture
def send(submit):
    """Submits jobs ``a1``: the letter is the sequence."""

    def make(pool, *names, **arguments):
        arguments = {"headers": [], **arguments}
        own = arguments.pop("headers")
        jobs = [
            submit(pool, name, headers=[b"seq", name[:1].encode(), *own], **arguments)
            for name in names
        ]
        return jobs if len(jobs) > 1 else jobs[0]

    return make


# -- one call per job


def test_a_sequence_is_served_in_order_by_one_worker(serving, send):
    pool, fakes = serving(workers=2)
    jobs = send(pool, "a1", "a2", "b1", "a3")

    fakes[0].answer(1)
    fakes[1].answer(1)
    fakes[0].answer(2)
    fakes[0].answer(3)

    assert [fake.batches for fake in fakes] == [[["a1"], ["a2"], ["a3"]], [["b1"]]]
    assert all(job.state is JobState.DONE for job in jobs)


def test_a_batch_waits_for_other_sequences_and_not_for_its_own(world, serving, send):
    pool, (fake,) = serving(max_delay_s=1.0)
    send(pool, "a1", "a2")
    world.advance(0.5)
    send(pool, "b1")
    assert fake.batches == []

    world.advance(0.6)

    assert fake.batches == [["a1", "b1"]]


def test_a_batch_of_all_sequences_there_can_be_does_not_wait(serving, send):
    pool, (fake,) = serving(max_delay_s=1.0, max_sequences=2)

    send(pool, "a1", "b1")

    assert fake.batches == [["a1", "b1"]]


def test_sequences_are_shared_out_among_the_workers(serving, send):
    pool, fakes = serving(workers=2, max_sequences=3)
    assert pool.queue.places == 2

    send(pool, "a1", "b1", "c1")
    for fake in fakes:
        fake.answer(1)

    assert sorted(len(fake.batches) for fake in fakes) == [1, 2]


def test_a_silent_sequence_makes_room(world, serving, send):
    pool, (fake,) = serving(max_sequences=1)
    send(pool, "a1")
    fake.answer(1)
    world.advance(59)
    with pytest.raises(QueueFull):
        send(pool, "b1")

    world.advance(2)
    send(pool, "b1")

    assert fake.batches == [["a1"], ["b1"]]


def test_what_waits_in_a_sequence_that_is_too_old_is_answered(world, serving, send):
    pool, (fake,) = serving(max_sequences=1, timeout_s=30.0)
    first, waiting = send(pool, "a1", "a2")

    world.advance(31)

    assert isinstance(waiting.sink.inner.error, ServiceUnavailable)
    assert "sequenceTimeoutMSec" in waiting.sink.inner.error.message
    fake.answer(1)
    assert first.state is JobState.DONE
    send(pool, "b1")
    assert fake.batches == [["a1"], ["b1"]]


def test_when_the_worker_dies_its_sequences_end(world, serving, send, launcher):
    pool, (fake,) = serving()
    running, waiting = send(pool, "a1", "a2")

    fake.end(1)
    world.advance(1)
    launcher.last.load()
    send(pool, "a3")

    assert isinstance(running.sink.inner.error, WorkerDied)
    assert isinstance(waiting.sink.inner.error, WorkerDied)
    assert "state of this sequence" in waiting.sink.inner.error.message
    assert launcher.last.batches == [["a3"]]


def test_when_the_worker_is_silent_its_sequences_end(world, serving, send):
    pool, (fake,) = serving(response_timeout_s=5)
    running, waiting = send(pool, "a1", "a2")

    world.advance(6)

    assert isinstance(running.sink.inner.error, ResponseTimeout)
    assert isinstance(waiting.sink.inner.error, WorkerDied)
    assert "state of this sequence" in waiting.sink.inner.error.message
    assert fake.signals


def test_other_workers_are_not_concerned(world, serving, send):
    pool, fakes = serving(workers=2)
    send(pool, "a1")
    other = send(pool, "b1")

    fakes[0].end(1)
    world.advance(0)
    fakes[1].answer(1)
    send(pool, "b2")

    assert other.state is JobState.DONE
    assert fakes[1].batches == [["b1"], ["b2"]]


def test_new_sequences_wait_for_a_worker_that_is_coming(world, serving, send, launcher):
    pool, (fake,) = serving()
    fake.end(1)
    job = send(pool, "a1")
    world.advance(1)

    launcher.last.load()
    launcher.last.answer(1)

    assert job.state is JobState.DONE


def test_without_workers_everything_is_answered(world, serving, send):
    pool, (fake,) = serving()
    _, waiting = send(pool, "a1", "a2")

    pool.scale(0, 0)

    assert isinstance(waiting.sink.inner.error, NoWorkers)
    with pytest.raises(NoWorkers):
        send(pool, "b1")
    fake.answer(1)
    world.advance(0)


def test_a_waiting_job_may_leave(serving, send):
    pool, (fake,) = serving()
    _, second, _ = send(pool, "a1", "a2", "a3")

    assert second.cancel()
    fake.answer(1)

    assert fake.batches == [["a1"], ["a3"]]


def test_a_deadline_is_kept(world, serving, send):
    pool, (fake,) = serving()
    send(pool, "a1")
    late = send(pool, "a2", deadline=world.now + 5)

    world.advance(6)
    fake.answer(1)

    assert late.state is JobState.EXPIRED
    assert fake.batches == [["a1"]]


def test_a_job_that_fits_no_frame_is_refused_and_its_sequence_goes_on(serving, send):
    pool, (fake,) = serving()

    huge = send(pool, "a1", headers=[b"x" * MAX_HEADER_BYTES, b""])
    send(pool, "a2")

    assert isinstance(huge.sink.inner.error, ProtocolError)
    assert fake.batches == [["a2"]]


def test_a_description_belongs_to_no_sequence(serving, submit, send):
    pool, (fake,) = serving(max_sequences=1)
    send(pool, "a1")

    job = submit(pool, "d", kind=SoloJob)
    fake.answer(1)
    fake.answer(2)

    assert fake.batches == [["a1"], ["d"]]
    assert job.state is JobState.DONE


def test_answers_are_measured(serving, send, metrics):
    pool, (fake,) = serving()
    send(pool, "a1")

    fake.answer(1)

    assert metrics.batches == [(["a1"], 100)]


# -- step by step


@pytest.fixture
def stepping(serving):
    def make(workers=1, **settings):
        return serving(workers, kind=ContinuousSequencePool, **settings)

    return make


def test_a_request_can_overtake_the_running_stream_of_its_sequence(stepping, send):
    """The reference's example: the second request stops the first one."""
    pool, (fake,) = stepping(max_sequences=1)
    stream, stop, late = send(pool, "a1", "a2", "a3")

    fake.step(1, a1="more")
    fake.step(2, a1="last", a2="done")
    fake.step(3, a3="done")

    assert fake.batches == [["a1"], ["a1", "a2"], ["a3"]]
    assert [job.state for job in (stream, stop, late)] == [JobState.DONE] * 3


def test_twice_as_many_may_be_active_as_begin_together(stepping, send):
    pool, (fake,) = stepping(batch_size=2, max_sequences=8)
    send(pool, "a1", "b1", "c1", "d1", "e1")
    fake.step(1, a1="more")

    fake.step(2, a1="more", b1="more", c1="more", d1="more")
    fake.step(3, a1="more", b1="more", c1="more", d1="last")

    assert fake.batches[2:] == [
        ["a1", "b1", "c1", "d1"],
        ["a1", "b1", "c1", "e1"],
    ]


def test_the_handler_ends_a_sequence(stepping, send):
    pool, (fake,) = stepping(max_sequences=1)
    send(pool, "a1")
    assert fake.batches == [["a1"]]

    fake.send(Result(1, 100, [Reply(0, "", ["end", "a"], "", b"")]))
    send(pool, "b1")

    assert fake.batches == [["a1"], ["b1"]]


def test_new_sequences_join_a_running_batch(stepping, send):
    pool, (fake,) = stepping(max_delay_s=1.0, max_sequences=2, batch_size=1)
    send(pool, "a1")
    send(pool, "b1")

    fake.step(1, a1="more")

    assert fake.batches == [["a1"], ["a1", "b1"]]


def test_a_description_waits_until_the_streams_are_over(stepping, send, submit):
    pool, (fake,) = stepping()
    send(pool, "a1")
    submit(pool, "d", kind=SoloJob)

    fake.step(1, a1="more")
    fake.step(2, a1="last")

    assert fake.batches == [["a1"], ["a1"], ["d"]]


def test_a_worker_that_is_to_stop_ends_its_streams_first(world, stepping, send):
    pool, (fake,) = stepping()
    stream = send(pool, "a1")

    pool.scale(0, 0)
    fake.step(1, a1="more")
    assert not fake.is_told_to_stop
    fake.step(2, a1="last")

    assert fake.is_told_to_stop
    assert stream.state is JobState.DONE


def test_a_step_read_after_the_process_ended_is_the_last_one(world, stepping, send):
    pool, (fake,) = stepping()
    stream = send(pool, "a1")
    fake.exit(1)

    fake.step(1, a1="more")
    world.advance()

    assert isinstance(stream.sink.inner.events[-1][1], WorkerDied)


def test_a_stream_whose_next_step_fits_no_frame_is_told(stepping, send):
    pool, (fake,) = stepping()

    huge = send(pool, "a1", headers=[b"x" * MAX_HEADER_BYTES, b""])
    send(pool, "a2")
    fake.step(2, a2="more")
    another = send(pool, "b1", headers=[b"x" * MAX_HEADER_BYTES, b""])
    fake.step(3, a2="more")

    assert isinstance(huge.sink.inner.error, ProtocolError)
    assert isinstance(another.sink.inner.error, ProtocolError)
    assert fake.batches == [["a2"]] * 3


def test_places_are_idle_workers(serving, send):
    pool, _ = serving(workers=2)
    assert pool.places == 2

    send(pool, "a1")

    assert pool.places == 1
