"""Jobs join and leave a running batch, step by step."""

from __future__ import annotations

import pytest

from tsl.frontend.continuous_pool import ContinuousPool
from tsl.frontend.jobs import JobState, SoloJob
from tsl.frontend.worker_state import WorkerState
from tsl.protocol.codec import MAX_HEADER_BYTES
from tsl.protocol.errors import HandlerFailed, ProtocolError, ResponseTimeout, WorkerDied
from tsl.protocol.frames import Cancel, Failure, Predict


@pytest.fixture
def serving(new_serving):
    """Makes a continuous pool with loaded workers."""

    def make(workers=1, batch_size=4, **arguments):
        return new_serving(workers, kind=ContinuousPool, batch_size=batch_size, **arguments)

    return make


def pieces(job):
    """The bodies of a stream so far, one string."""
    bodies = [event[1].body for event in job.sink.events if event[0] != "fail"]
    return b"".join(map(bytes, bodies)).decode()


def test_jobs_join_at_the_next_step_and_leave_when_they_are_done(serving, submit):
    """The example of the reference: sizes 1, 2, 3, 2, 1."""
    pool, (fake,) = serving()
    a = submit(pool, "a")
    b = submit(pool, "b")
    fake.step(1, a="more")
    c = submit(pool, "c")
    fake.step(2, a="more", b="more")
    fake.step(3, a="more", b="last", c="more")
    fake.step(4, a="more", c="last")
    fake.step(5, a="last")

    assert fake.batches == [["a"], ["a", "b"], ["a", "b", "c"], ["a", "c"], ["a"]]
    assert [pieces(job) for job in (a, b, c)] == ["++++.", "+.", "+."]
    assert [job.state for job in (a, b, c)] == [JobState.DONE] * 3


def test_a_row_has_its_values_in_its_first_step_only(serving, submit):
    pool, (fake,) = serving()
    submit(pool, "a", headers=[b"x", b"1"])
    fake.step(1, a="more")

    first, second = (frame.rows[0] for frame in fake.received if type(frame) is Predict)

    assert bytes(first.parts[0].body) == b"x"
    assert second.parts == []
    assert (second.request_id, second.headers) == (first.request_id, first.headers)


def test_an_answer_without_the_header_is_the_only_one(serving, submit):
    pool, (fake,) = serving()
    job = submit(pool, "a")

    fake.step(1, a="done")

    assert [kind for kind, _ in job.sink.events] == ["finish"]
    assert fake.batches == [["a"]]


def test_no_more_than_a_full_batch_is_active(serving, submit):
    pool, (fake,) = serving(batch_size=2, max_delay_s=1)
    for name in "abc":
        submit(pool, name)
    assert fake.batches == [["a", "b"]]

    fake.step(1, a="more", b="more")
    fake.step(2, a="last", b="more")

    assert fake.batches == [["a", "b"], ["a", "b"], ["b", "c"]]


def test_an_idle_worker_waits_for_the_window_and_a_running_one_does_not(world, serving, submit):
    pool, (fake,) = serving(max_delay_s=1)
    submit(pool, "a")
    world.advance(0.5)
    assert fake.batches == []
    world.advance(0.6)
    submit(pool, "b")

    fake.step(1, a="more")

    assert fake.batches == [["a"], ["a", "b"]]


def test_a_second_worker_takes_what_the_first_has_no_room_for(serving, submit):
    pool, fakes = serving(workers=2, batch_size=1)
    submit(pool, "a")
    submit(pool, "b")

    fakes[0].step(1, a="more")
    fakes[1].step(1, b="more")

    assert [fake.batches for fake in fakes] == [[["a"], ["a"]], [["b"], ["b"]]]


def test_a_client_that_leaves_is_not_in_the_next_step(serving, submit):
    pool, (fake,) = serving()
    a, b = submit(pool, "a"), submit(pool, "b")
    fake.step(1, a="more")

    assert a.cancel()
    fake.step(2, a="more", b="more")

    assert fake.batches == [["a"], ["a", "b"], ["b"]]
    assert Cancel(2, 0) in fake.received
    assert pieces(a) == "+"
    assert pieces(b) == "+"


def test_a_worker_whose_clients_have_all_left_is_idle(serving, submit):
    pool, (fake,) = serving()
    submit(pool, "a").cancel()
    fake.step(1, a="more")

    submit(pool, "b")

    assert fake.batches == [["a"], ["b"]]


def test_a_job_whose_deadline_passed_does_not_join(world, serving, submit):
    pool, (fake,) = serving()
    submit(pool, "a")
    late = submit(pool, "late", deadline=world.now)

    fake.step(1, a="more")

    assert fake.batches == [["a"], ["a"]]
    assert late.state is JobState.EXPIRED


def test_a_failing_step_ends_all(serving, submit):
    pool, (fake,) = serving()
    jobs = [submit(pool, name) for name in "ab"]
    fake.step(1, a="more")

    fake.send(Failure(2, HandlerFailed.code, "", 0))
    again = submit(pool, "c")

    assert [type(job.sink.error) for job in jobs] == [HandlerFailed] * 2
    assert fake.batches[2:] == [["c"]]
    assert not again.is_settled


def test_a_description_waits_until_nobody_is_active(serving, submit):
    pool, (fake,) = serving()
    submit(pool, "a")
    submit(pool, "d", kind=SoloJob)
    submit(pool, "b")

    fake.step(1, a="more")
    fake.step(2, a="last")
    fake.step(3, d="done")

    assert fake.batches == [["a"], ["a"], ["d"], ["b"]]


def test_a_silent_step_is_timed_out(world, serving, submit):
    pool, (fake,) = serving(response_timeout_s=5)
    job = submit(pool, "a")
    for number in range(1, 4):
        world.advance(4)
        fake.step(number, a="more")
    assert not job.is_settled

    world.advance(6)

    assert isinstance(job.sink.error, ResponseTimeout)


def test_the_streams_of_a_dead_worker_end_and_what_waits_is_served(
    world, serving, submit, launcher
):
    pool, (fake,) = serving(batch_size=1)
    a, b = submit(pool, "a"), submit(pool, "b")
    fake.step(1, a="more")

    fake.end(1)
    world.advance(1)
    launcher.last.load()

    assert isinstance(a.sink.error, WorkerDied)
    assert launcher.last.batches == [["b"]]
    assert not b.is_settled


def test_a_step_read_after_the_process_ended_is_the_last_one(world, serving, submit):
    pool, (fake,) = serving()
    job = submit(pool, "a")
    fake.exit(1)

    fake.step(1, a="more")
    world.advance()

    assert pieces(job) == "+"
    assert isinstance(job.sink.error, WorkerDied)


def test_a_worker_that_is_to_stop_ends_its_streams_first(world, serving, submit):
    pool, (fake,) = serving()
    a, b = submit(pool, "a"), submit(pool, "b")
    (worker,) = pool.workers

    pool.scale(0, 0)
    fake.step(1, a="more")
    assert not fake.is_told_to_stop
    fake.step(2, a="last")

    assert fake.is_told_to_stop
    assert fake.batches == [["a"], ["a"]]
    assert pieces(a) == "+."
    assert worker.state is WorkerState.STOPPING
    assert b.is_settled


def test_a_job_that_fits_no_frame_is_refused_and_the_others_go_on(serving, submit):
    pool, (fake,) = serving()
    a = submit(pool, "a")
    huge = submit(pool, "huge", headers=[b"x" * MAX_HEADER_BYTES, b""])

    fake.step(1, a="more")

    assert isinstance(huge.sink.error, ProtocolError)
    assert fake.batches == [["a"], ["a"]]
    assert pieces(a) == "+"


def test_a_lone_job_that_fits_no_frame_is_refused(serving, submit):
    pool, (fake,) = serving()

    huge = submit(pool, "huge", headers=[b"x" * MAX_HEADER_BYTES, b""])
    submit(pool, "a")

    assert isinstance(huge.sink.error, ProtocolError)
    assert fake.batches == [["a"]]


def test_each_step_is_measured(serving, submit, metrics):
    pool, (fake,) = serving()
    submit(pool, "a")
    fake.step(1, a="more")
    fake.step(2, a="last")

    assert metrics.batches == [(["a"], 100)] * 2


def test_places_are_rows_that_are_free(serving, submit):
    pool, _ = serving(workers=2, batch_size=4)
    assert pool.places == 8

    submit(pool, "a")

    assert pool.places == 7
