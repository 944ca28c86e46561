"""Workers pull from the queue: who gets what, when, and what happens to jobs that nobody can do."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from tsl.frontend.batching import BatchPolicy
from tsl.frontend.worker import END_GRACE_S
from tsl.frontend.worker_state import WorkerState
from tsl.protocol.errors import (
    DeadlineExceeded,
    LoadFailed,
    NoWorkers,
    QueueFull,
    ResponseTimeout,
    ShuttingDown,
    WorkerDied,
)
from tsl.protocol.frames import Cancel, Failure, MetricRecord, Metrics

EAGER = BatchPolicy.EAGER


def prove_quick(pool, service_us=100):
    """Let the pool know that its model is quick."""
    for _ in range(200):
        pool.depth.observe(service_us)


def all_batches(fakes):
    return [fake.batches for fake in fakes]


# -- handing out


def test_an_idle_worker_gets_a_job_at_once_and_answers_it(new_serving, submit, metrics):
    pool, (fake,) = new_serving()

    job = submit(pool, "a")
    assert fake.batches == [["a"]]
    fake.answer(1, b"yes")

    assert job.sink.body == b"yes"
    assert metrics.batches == [(["a"], 100)]


def test_a_busy_worker_gets_the_next_job_when_it_is_free(new_serving, submit):
    pool, (fake,) = new_serving()
    submit(pool, "a")
    submit(pool, "b")
    assert fake.batches == [["a"]]

    fake.answer(1)

    assert fake.batches == [["a"], ["b"]]


def test_each_idle_worker_gets_one(new_serving, submit):
    pool, fakes = new_serving(workers=3)

    for name in "abcd":
        submit(pool, name)

    assert all_batches(fakes) == [[["a"]], [["b"]], [["c"]]]
    assert len(pool.queue) == 1


def test_the_worker_that_is_free_first_gets_the_next_job(new_serving, submit):
    pool, fakes = new_serving(workers=2)
    for name in "abc":
        submit(pool, name)

    fakes[1].answer(1)

    assert all_batches(fakes) == [[["a"]], [["b"], ["c"]]]


def test_jobs_that_wait_for_the_first_worker_are_served_in_order(world, new_pool, launcher, submit):
    pool = new_pool(batch_size=2)
    pool.scale(1, 1)
    world.advance()
    jobs = [submit(pool, name) for name in "abc"]

    launcher.last.load()
    assert launcher.last.batches == [["a", "b"]]
    launcher.last.answer(1)
    world.advance(1)
    launcher.last.answer(2)

    assert [job.sink.body for job in jobs] == [b"x"] * 3


# -- the window


def test_a_batch_waits_for_its_window(world, new_serving, submit):
    pool, (fake,) = new_serving(batch_size=4, max_delay_s=0.3)
    begun = world.now
    submit(pool, "a")
    world.advance(0.2)
    submit(pool, "b")
    assert fake.batches == []

    world.advance(0.1)

    assert fake.batches == [["a", "b"]]
    assert world.now - begun == pytest.approx(0.3, abs=0.01)


def test_a_full_batch_does_not_wait(new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, max_delay_s=5)

    submit(pool, "a")
    submit(pool, "b")

    assert fake.batches == [["a", "b"]]


def test_the_next_window_is_not_cut_short_by_the_last_ones_timer(world, new_serving, submit):
    pool, fakes = new_serving(workers=2, batch_size=2, max_delay_s=1)
    submit(pool, "a")
    submit(pool, "b")
    world.advance(0.9)
    submit(pool, "c")

    world.advance(0.2)
    assert len(pool.queue) == 1
    world.advance(0.8)

    assert all_batches(fakes) == [[["a", "b"]], [["c"]]]


def test_a_job_that_has_waited_long_behind_a_busy_worker_does_not_wait_again(
    world, new_serving, submit
):
    pool, (fake,) = new_serving(batch_size=2, max_delay_s=1)
    submit(pool, "a")
    submit(pool, "b")
    submit(pool, "c")
    world.advance(5)

    fake.answer(1)

    assert fake.batches == [["a", "b"], ["c"]]


def test_a_window_whose_only_job_leaves_disturbs_nobody(world, new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, max_delay_s=1)
    submit(pool, "a").cancel()
    world.advance(0.5)
    submit(pool, "b")

    world.advance(0.6)
    assert fake.batches == []
    world.advance(0.5)

    assert fake.batches == [["b"]]


def test_a_job_whose_window_is_long_over_does_not_wait_for_an_old_timer(
    world, new_serving, submit, new_job
):
    """A pipelined request has waited for its turn; an idle worker takes it at once."""
    pool, fakes = new_serving(workers=2, batch_size=2, max_delay_s=1)
    submit(pool, "a")
    submit(pool, "b")
    world.advance(0.1)

    pool.submit(new_job("c", now=world.now - 5))

    assert all_batches(fakes) == [[["a", "b"]], [["c"]]]


def test_an_eager_model_serves_a_lone_job_at_once_and_batches_behind_it(new_serving, submit):
    pool, (fake,) = new_serving(batch_size=4, max_delay_s=5, policy=EAGER)
    for name in "abcd":
        submit(pool, name)
    assert fake.batches == [["a"]]

    fake.answer(1)

    assert fake.batches == [["a"], ["b", "c", "d"]]


# -- pipelining


def test_a_model_that_is_not_known_to_be_quick_has_one_batch_in_flight(new_serving, submit):
    pool, (fake,) = new_serving()

    for name in "abc":
        submit(pool, name)

    assert fake.batches == [["a"]]


def test_a_quick_model_has_as_many_in_flight_as_its_depth(new_serving, submit):
    pool, (fake,) = new_serving()
    prove_quick(pool, 500)
    assert pool.depth.depth == 4

    for name in "abcdefg":
        submit(pool, name)

    assert fake.batches == [["a"], ["b"], ["c"], ["d"]]
    assert len(pool.queue) == 3


def test_batches_ahead_are_shared_out_evenly(new_serving, submit):
    pool, fakes = new_serving(workers=2)
    prove_quick(pool, 500)

    for name in "abcdef":
        submit(pool, name)

    assert sorted(len(batches) for batches in all_batches(fakes)) == [3, 3]


def test_an_eager_queue_sends_only_full_batches_ahead(new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, policy=EAGER)
    prove_quick(pool)

    for name in "abcd":
        submit(pool, name)

    assert fake.batches == [["a"], ["b", "c"]]


def prove_slow(pool):
    """Let the pool know that batches of its model take 20 ms."""
    for _ in range(50):
        pool.depth.observe(20_000)


def test_a_slow_model_s_only_worker_has_one_full_batch_ahead(new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, policy=EAGER)
    prove_slow(pool)

    for name in "abcdef":
        submit(pool, name)
    assert fake.batches == [["a"], ["b", "c"]]
    fake.answer(1)

    assert fake.batches == [["a"], ["b", "c"], ["d", "e"]]
    assert len(pool.queue) == 1
    assert pool.pending == 3


def test_jobs_that_wait_at_a_worker_keep_their_places_in_the_queue(new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, policy=EAGER, capacity=3)
    prove_slow(pool)

    for name in "abcd":
        submit(pool, name)
    with pytest.raises(QueueFull):
        submit(pool, "e")
    fake.answer(1)
    submit(pool, "f")
    fake.answer(2)

    assert fake.batches == [["a"], ["b", "c"], ["d", "f"]]
    assert pool.pending == 0


def test_without_batches_one_job_waits_at_a_slow_model_s_only_worker(new_serving, submit):
    pool, (fake,) = new_serving()
    prove_slow(pool)

    for name in "abc":
        submit(pool, name)

    assert fake.batches == [["a"], ["b"]]
    assert pool.pending == 2


def test_a_job_with_a_deadline_does_not_wait_at_a_worker(world, new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, policy=EAGER)
    prove_slow(pool)
    submit(pool, "a")
    late = submit(pool, "b", deadline=world.now + 5)
    submit(pool, "c")
    assert fake.batches == [["a"]]

    world.advance(5.1)
    fake.answer(1)

    assert type(late.sink.error) is DeadlineExceeded
    assert fake.batches == [["a"], ["c"]]


def test_what_is_not_full_does_not_go_ahead_of_its_turn(world, new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, max_delay_s=0.001)
    prove_slow(pool)

    for name in "abc":
        submit(pool, name)
    world.advance(1)
    assert fake.batches == [["a", "b"]]
    fake.answer(1)

    assert fake.batches == [["a", "b"], ["c"]]


def test_several_workers_of_a_slow_model_have_nothing_ahead(new_serving, submit):
    pool, fakes = new_serving(workers=2)
    prove_slow(pool)

    for name in "abcd":
        submit(pool, name)

    assert all_batches(fakes) == [[["a"]], [["b"]]]


def test_a_job_counts_as_waiting_until_its_worker_is_free(world, new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, policy=EAGER)
    prove_slow(pool)
    submit(pool, "a")
    second = submit(pool, "b")
    submit(pool, "c")
    assert fake.batches == [["a"], ["b", "c"]]

    world.advance(0.25)
    fake.answer(1)

    assert second.sent_at == world.now


def test_a_batch_ahead_of_a_worker_that_dies_goes_to_another_one(new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, policy=EAGER)
    prove_slow(pool)
    begun, waiting, _ = [submit(pool, name) for name in "abc"]
    assert fake.batches == [["a"], ["b", "c"]]

    fake.end(1)

    assert type(begun.sink.error) is WorkerDied
    assert not waiting.is_settled
    assert len(pool.queue) == pool.pending == 2


def test_a_job_that_never_waited_goes_to_the_queue_when_its_worker_dies(new_serving, submit):
    pool, (fake,) = new_serving()
    prove_quick(pool, 500)
    begun, passed_on, left = (submit(pool, name) for name in "abc")
    assert fake.batches == [["a"], ["b"], ["c"]]

    fake.end(1)

    assert type(begun.sink.error) is WorkerDied
    assert len(pool.queue) == 2
    assert left.cancel()
    assert len(pool.queue) == 1
    assert not passed_on.is_settled


def test_a_job_never_overtakes_those_who_wait(new_serving, submit):
    pool, (fake,) = new_serving()
    prove_quick(pool, 1000)
    for name in "abc":
        submit(pool, name)
    assert fake.batches == [["a"], ["b"]]

    fake.answer(1)
    submit(pool, "d")
    fake.answer(2)
    fake.answer(3)

    assert fake.batches == [["a"], ["b"], ["c"], ["d"]]


def test_a_batch_that_failed_as_a_whole_teaches_nothing_about_speed(new_serving, submit, metrics):
    pool, (fake,) = new_serving()

    for number in range(1, 101):
        submit(pool)
        fake.send(Failure(number, "handler_failed", "", 0))

    assert pool.depth.depth == 1
    assert metrics.batches == []


# -- deadlines and clients that leave


def test_a_job_that_waits_too_long_is_answered_and_never_sent(world, new_serving, submit):
    pool, (fake,) = new_serving()
    submit(pool, "a")
    late = submit(pool, "late", deadline=world.now + 5)

    world.advance(5.1)
    fake.answer(1)

    assert type(late.sink.error) is DeadlineExceeded
    assert fake.batches == [["a"]]


def test_an_expired_job_does_not_cost_the_worker_its_turn(world, new_serving, submit, new_job):
    """Both the deadline and the worker's answer are due; the answer is looked at first."""
    pool, (fake,) = new_serving()
    submit(pool, "a")
    late = new_job("late", now=world.now, deadline=world.now + 5)
    pool.submit(late)
    late.timer.cancel()
    world.advance(6)

    fake.answer(1)
    assert type(late.sink.error) is DeadlineExceeded
    submit(pool, "b")

    assert fake.batches == [["a"], ["b"]]


def test_a_sent_job_expires_too_and_its_answer_is_discarded(world, new_serving, submit):
    pool, (fake,) = new_serving()
    job = submit(pool, deadline=world.now + 5)

    world.advance(5.1)
    assert type(job.sink.error) is DeadlineExceeded
    assert fake.received[-1] == Cancel(1, 0)
    fake.answer(1)

    assert len(job.sink.ends) == 1


def test_an_answer_in_time_ends_the_deadline(world, new_serving, submit):
    pool, (fake,) = new_serving()
    job = submit(pool, deadline=world.now + 5)

    fake.answer(1, b"yes")
    world.advance(10)

    assert job.sink.body == b"yes"


def test_a_job_whose_deadline_passed_before_it_came_is_not_sent(world, new_serving, new_job):
    """A pipelined request arrives long before its turn."""
    pool, (fake,) = new_serving()
    job = new_job("late", now=world.now - 10, deadline=world.now - 5)

    pool.submit(job)
    world.advance(0.01)

    assert fake.batches == []
    assert type(job.sink.error) is DeadlineExceeded


def test_the_response_time_does_not_begin_before_the_batch_is_sent(
    world, new_serving, new_job, submit
):
    pool, (fake,) = new_serving(response_timeout_s=10)
    submit(pool, "first")
    world.advance(9)
    fake.answer(1)

    job = new_job("pipelined", now=world.now - 9)  # arrived with the first one
    pool.submit(job)
    world.advance(5)

    assert fake.signals == []
    assert not job.is_settled


def test_a_full_queue_refuses(new_serving, submit):
    pool, _ = new_serving(capacity=1)
    submit(pool, "a")
    submit(pool, "b")

    with pytest.raises(QueueFull):
        submit(pool, "c")


def test_a_job_that_is_too_large_for_any_frame_is_answered_and_the_worker_goes_on(
    new_serving, submit
):
    class Huge(bytes):
        def __len__(self):
            return 2**32

    pool, (fake,) = new_serving()

    job = submit(pool, "huge", body=Huge())
    submit(pool, "a")

    assert "does not fit" in str(job.sink.error)
    assert fake.batches == [["a"]]


# -- the response timeout


def test_a_silent_worker_is_timed_out_and_its_batch_answered_once(world, new_serving, submit):
    pool, (fake,) = new_serving(response_timeout_s=10)
    job = submit(pool)

    world.advance(9.9)
    assert not job.is_settled
    world.advance(0.2)

    assert type(job.sink.error) is ResponseTimeout
    assert fake.signals == [6]


def test_batches_that_a_timed_out_worker_had_not_begun_go_to_another_one(
    world, new_serving, submit
):
    pool, fakes = new_serving(workers=2, response_timeout_s=10)
    prove_quick(pool, 1000)
    jobs = [submit(pool, name) for name in "abcd"]
    first = fakes[0].batches
    world.advance(9)
    fakes[1].answer(1)
    fakes[1].answer(2)

    world.advance(2)

    assert type(jobs[0].sink.error) is ResponseTimeout
    assert fakes[1].batches[-1] == first[1]
    fakes[1].answer(3, b"rescued")
    assert [len(job.sink.ends) for job in jobs] == [1] * 4


def test_a_stream_that_goes_on_is_not_silent(world, new_serving, submit):
    pool, (fake,) = new_serving(response_timeout_s=10)
    job = submit(pool)

    for _ in range(5):
        world.advance(8)
        fake.stream(1, 0, b"piece")

    assert not job.is_settled
    assert fake.signals == []


def test_a_worker_whose_stream_nobody_takes_is_not_blamed(world, new_serving, submit):
    pool, (fake,) = new_serving(response_timeout_s=10)
    job = submit(pool)
    pool.workers[0].channel.pause_reading()

    world.advance(60)
    assert fake.signals == []
    pool.workers[0].channel.resume_reading()
    world.advance(21)

    assert type(job.sink.error) is ResponseTimeout


def test_the_watchdog_sleeps_while_nothing_is_in_flight(world, new_serving, submit):
    pool, (fake,) = new_serving(response_timeout_s=10)
    submit(pool)
    fake.answer(1)

    world.advance(20)

    assert pool._watchdog is None


def test_there_is_one_watchdog_however_often_it_has_bitten(world, new_serving, submit):
    pool, fakes = new_serving(workers=2, response_timeout_s=10)
    prove_quick(pool, 1000)
    for name in "abcd":
        submit(pool, name)
    world.advance(9)
    fakes[1].answer(1)
    fakes[1].answer(2)

    world.advance(2)

    watching = [
        handle
        for handle in world.loop._scheduled
        if not handle._cancelled and handle._callback == pool._on_watchdog
    ]
    assert len(watching) == 1


# -- losing workers


def test_of_a_dead_workers_batches_the_begun_one_fails_and_the_others_go_back_in_order(
    world, new_serving, submit, launcher
):
    pool, (fake,) = new_serving()
    prove_quick(pool, 600)
    jobs = {name: submit(pool, name) for name in "abcde"}
    assert fake.batches == [["a"], ["b"], ["c"]]

    fake.end(1)
    assert type(jobs["a"].sink.error) is WorkerDied
    world.advance(0.1)
    launcher.last.load()

    assert launcher.last.batches == [["b"], ["c"], ["d"]]
    assert [name for name, job in jobs.items() if job.is_settled] == ["a"]


def test_jobs_wait_for_a_worker_that_comes_back(world, new_serving, submit, launcher):
    pool, (fake,) = new_serving()
    fake.end(1)

    job = submit(pool)
    world.advance(0.1)
    launcher.last.load().answer(1, b"yes")

    assert job.sink.body == b"yes"


def test_an_idle_worker_that_died_gets_nothing(new_serving, submit):
    pool, fakes = new_serving(workers=2)
    fakes[0].end(1)

    submit(pool, "a")

    assert fakes[1].batches == [["a"]]


def test_a_worker_whose_process_has_ended_gets_nothing_although_it_is_still_read(
    new_serving, submit
):
    pool, fakes = new_serving(workers=2)
    fakes[0].exit(1)

    submit(pool, "a")

    assert fakes[1].batches == [["a"]]


def test_a_worker_that_closed_its_socket_gets_nothing(new_serving, submit):
    pool, fakes = new_serving(workers=2)
    fakes[0].close()

    submit(pool, "a")

    assert fakes[1].batches == [["a"]]


def test_a_worker_that_closed_its_socket_does_not_hold_up_the_others(new_serving, submit):
    pool, fakes = new_serving(workers=2)
    prove_quick(pool, 500)
    fakes[0].close()

    for name in "abc":
        submit(pool, name)

    assert fakes[1].batches == [["a"], ["b"], ["c"]]


def test_when_the_last_worker_is_abandoned_waiting_jobs_are_answered_at_once(new_serving, submit):
    pool, (fake,) = new_serving(plan={"retry_window_s": 0})
    begun, waiting = submit(pool, "a"), submit(pool, "b")

    fake.end(1)

    assert type(begun.sink.error) is WorkerDied
    assert type(waiting.sink.error) is NoWorkers
    assert "min_worker=1" in str(waiting.sink.error)
    with pytest.raises(NoWorkers):
        submit(pool, "c")


def test_while_one_worker_is_left_waiting_jobs_stay(new_serving, submit):
    pool, fakes = new_serving(workers=2, plan={"retry_window_s": 0})
    for name in "ab":
        submit(pool, name)
    waiting = submit(pool, "c")

    fakes[0].end(1)
    assert not waiting.is_settled
    fakes[1].answer(1)

    assert fakes[1].batches == [["b"], ["c"]]


def test_a_client_that_leaves_because_its_other_job_failed_is_not_served(
    new_serving, submit, new_job, world
):
    pool, (fake,) = new_serving()
    prove_quick(pool)
    begun, fresh = submit(pool, "a"), submit(pool, "b")
    begun.sink.fail = lambda job, error: fresh.cancel()

    fake.end(1)

    assert len(fresh.sink.ends) == 1
    assert len(pool.queue) == 0


def test_without_any_worker_a_job_is_refused(new_pool, submit):
    with pytest.raises(NoWorkers):
        submit(new_pool())


# -- the number of workers


def test_scaling_up_starts_what_is_missing(world, new_serving, launcher):
    pool, _ = new_serving()

    started = pool.scale(3, 3)
    world.advance()

    assert len(started) == 2
    assert len(launcher.started) == 3
    assert (pool.min_workers, pool.max_workers) == (3, 3)


def test_scaling_down_stops_the_newest(world, new_serving):
    pool, fakes = new_serving(workers=3)

    assert pool.scale(1, 1) == []

    assert [fake.is_told_to_stop for fake in fakes] == [False, True, True]
    world.advance(END_GRACE_S + 0.1)
    assert len(pool.workers) == 1


def test_between_the_bounds_nothing_changes(new_serving):
    pool, fakes = new_serving(workers=2)

    assert pool.scale(1, 5) == []

    assert len(pool.workers) == 2
    assert not any(fake.is_told_to_stop for fake in fakes)


def test_scaling_up_while_others_are_still_stopping_starts_new_ones(world, new_serving, launcher):
    pool, _ = new_serving(workers=2)
    pool.scale(0, 0)

    assert len(pool.scale(1, 1)) == 1
    world.advance()

    assert len(launcher.started) == 3


def test_scaling_to_nothing_answers_who_waits(new_serving, submit):
    pool, (fake,) = new_serving()
    begun, waiting = submit(pool, "a"), submit(pool, "b")

    pool.scale(0, 0)
    assert type(waiting.sink.error) is NoWorkers
    fake.answer(1, b"yes")

    assert begun.sink.body == b"yes"


def test_a_stopping_worker_gets_no_more_jobs(new_serving, submit):
    pool, fakes = new_serving(workers=2)
    pool.scale(1, 1)

    submit(pool, "a")
    submit(pool, "b")

    assert all_batches(fakes) == [[["a"]], []]


def test_scaling_to_nothing_is_no_error_in_the_log(new_serving, submit, caplog):
    caplog.set_level(logging.INFO)
    pool, _ = new_serving()

    pool.scale(0, 0)
    for name in "ab":
        with pytest.raises(NoWorkers):
            submit(pool, name)

    said = [r for r in caplog.records if r.name == "tsl.frontend.worker_pool"]
    assert [(r.levelname, r.getMessage()) for r in said] == [
        ("INFO", f"{pool.name} has no worker any more: it was scaled to none")
    ]


def test_the_loss_of_the_last_worker_is_logged_once_with_its_reason(new_serving, submit, caplog):
    pool, (fake,) = new_serving(plan={"retry_window_s": 0})

    fake.end(1)
    for name in "ab":
        with pytest.raises(NoWorkers):
            submit(pool, name)

    said = [r for r in caplog.records if "has no worker left" in r.getMessage()]
    assert [r.levelname for r in said] == ["ERROR"]
    assert said[0].getMessage().endswith("exit code 1")


def test_abandoned_workers_are_replaced(world, new_serving, launcher, submit):
    pool, (fake,) = new_serving(plan={"retry_window_s": 0})
    fake.end(1)
    assert not pool.is_healthy

    assert len(pool.scale(1, 1)) == 1
    world.advance()
    launcher.last.load()

    assert pool.is_healthy
    assert pool.ready_count == 1
    assert len(pool.workers) == 1
    assert submit(pool, "a") is not None


def test_health_counts_workers_within_their_retry_window(new_serving):
    pool, (fake,) = new_serving()
    fake.end(1)

    assert pool.is_healthy
    assert pool.ready_count == 0


# -- waiting for them


def test_wait_ready_returns_when_all_serve(world, new_pool, launcher):
    pool = new_pool()
    waiting = world.task(pool.wait_ready(pool.scale(2, 2)))
    world.advance()
    launcher.started[0].load()
    world.advance()
    assert not waiting.done()

    launcher.started[1].load()
    world.run(waiting)


def test_wait_ready_for_nobody_returns_at_once(world, new_pool):
    world.run(new_pool().wait_ready([]))


def test_wait_ready_raises_the_load_failure(world, new_pool, launcher):
    pool = new_pool()
    waiting = world.task(pool.wait_ready(pool.scale(1, 1)))
    world.advance()

    launcher.last.fail_to_load()
    launcher.last.end(1)

    with pytest.raises(LoadFailed):
        world.run(waiting)


def test_wait_ready_ends_when_the_worker_is_stopped(world, new_pool, launcher):
    pool = new_pool()
    waiting = world.task(pool.wait_ready(pool.scale(1, 1)))
    world.advance()

    pool.scale(0, 0)

    with pytest.raises(NoWorkers, match="was stopped while it was starting"):
        world.run(asyncio.wait_for(waiting, 10))


def test_wait_ready_sees_a_worker_that_was_quicker_than_its_launcher(world, new_pool, launcher):
    """A forked worker can connect and load before the launcher has told its pid."""
    launcher.gate = asyncio.Event()
    pool = new_pool()
    waiting = world.task(pool.wait_ready(pool.scale(1, 1)))
    world.advance()
    launcher.last.load()
    world.advance()

    launcher.gate.set()

    world.run(asyncio.wait_for(waiting, 10))


def test_wait_settled_returns_when_each_serves_or_has_failed(world, new_pool, launcher):
    pool = new_pool()
    pool.scale(2, 2)
    waiting = world.task(pool.wait_settled())
    world.advance()
    launcher.started[0].load()
    world.advance()
    assert not waiting.done()

    launcher.started[1].exit(1)
    world.run(waiting)


# -- closing


def test_closing_answers_who_waits_and_finishes_what_is_in_flight(world, new_serving, submit):
    pool, (fake,) = new_serving()
    begun, waiting = submit(pool, "a"), submit(pool, "b")

    closing = world.task(pool.close(60))
    world.advance()
    assert type(waiting.sink.error) is ShuttingDown
    with pytest.raises(ShuttingDown):
        submit(pool, "c")
    fake.answer(1, b"yes")
    fake.end(0)
    world.run(closing)

    assert begun.sink.body == b"yes"
    assert pool.workers == []


def test_closing_kills_who_does_not_finish_in_time(world, new_serving, submit):
    pool, (fake,) = new_serving()
    job = submit(pool)

    world.run(pool.close(5))

    assert fake.signals == [9]
    assert len(job.sink.ends) == 1
    assert not [h for h in world.loop._scheduled if not h._cancelled]


def test_closing_does_not_wait_for_a_launcher_that_hangs(world, new_pool, launcher):
    launcher.gate = asyncio.Event()
    pool = new_pool()
    pool.scale(1, 1)
    world.advance()

    world.run(pool.close(5))

    assert pool.workers == []


def test_jobs_of_a_worker_that_dies_during_the_close_are_answered(world, new_serving, submit):
    pool, (fake,) = new_serving()
    prove_quick(pool)
    jobs = [submit(pool, name) for name in "abc"]
    closing = world.task(pool.close(60))
    world.advance()

    fake.end(1)
    world.run(closing)

    assert [type(job.sink.error) for job in jobs] == [WorkerDied, ShuttingDown, ShuttingDown]


def test_closing_twice_is_closing_once(world, new_serving):
    pool, (_fake,) = new_serving()

    world.run(pool.close(5))
    world.run(pool.close(5))

    assert pool.workers == []


def test_closing_an_empty_pool_returns_at_once(world, new_pool):
    before = world.now
    world.run(new_pool().close(60))

    assert world.now == before


# -- what handlers record


def test_handlers_metrics_are_handed_on(new_serving, metrics):
    _, (fake,) = new_serving()
    records = [MetricRecord("n", "ms", "GAUGE", 1.0, [], "", 1)]

    fake.send(Metrics(records))

    assert metrics.records == records


def test_the_time_to_load_is_measured_from_each_start(new_serving, metrics):
    new_serving(2)

    assert [label for label, _ in metrics.loads] == ["W-9000-m_1.0", "W-9001-m_1.0"]
    assert all(milliseconds >= 0 for _, milliseconds in metrics.loads)


def test_jobs_in_flight_are_those_that_nobody_has_answered(new_serving, submit):
    pool, (fake,) = new_serving(batch_size=2, max_delay_s=0.01)
    first = submit(pool, "a")
    submit(pool, "b")
    assert pool.jobs_in_flight == 2

    first.cancel()
    assert pool.jobs_in_flight == 1
    fake.answer(1)

    assert pool.jobs_in_flight == 0


def test_repr_shows_states_and_queue(new_serving):
    pool, _ = new_serving()

    assert repr(pool) == "<BatchPool Model 'm' [SERVING] <BatchQueue 0/100 jobs, 0 bytes>>"


def test_workers_are_told_apart_by_state(new_serving):
    pool, (fake,) = new_serving()
    fake.end(1)

    assert pool.workers[0].state is WorkerState.WAITING
    assert pool.can_serve


# -- anything, in any order


class Chaos:
    """Random steps on a pool; after each of them what always holds is checked."""

    def __init__(self, rng, world, pool, launcher, new_job):
        self.rng = rng
        self.world = world
        self.pool = pool
        self.launcher = launcher
        self.new_job = new_job
        self.jobs = []

    @property
    def alive(self):
        return [fake for fake in self.launcher.started if fake.returncode is None]

    def submit(self):
        now = self.world.now
        deadline = self.rng.choice([None, None, now + self.rng.random() * 3])
        job = self.new_job(f"j{len(self.jobs)}", now=now, deadline=deadline)
        self.jobs.append(job)
        try:
            self.pool.submit(job)
        except (NoWorkers, QueueFull) as error:
            job.fail(error)

    def serve(self):
        """A worker loads, or answers its oldest batch."""
        if not self.alive:
            return
        fake = self.rng.choice(self.alive)
        if fake.transport is None:
            fake.load()
        elif not fake.transport.is_closed and fake.transport.protocol.oldest is not None:
            fake.answer(
                fake.transport.protocol.oldest.id, service_us=self.rng.choice([50, 50, 900])
            )

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
        actions = [self.submit] * 8 + [self.serve] * 8 + [self.wait] * 3 + [self.leave, self.lose]
        self.rng.choice([*actions, self.scale])()
        self.check()

    def check(self):
        queue = self.pool.queue
        waiting = [job for job in self.jobs if job.queue is queue and job.channel is None]
        assert len(queue) == len(waiting)
        assert queue.size_bytes == sum(job.size_bytes for job in waiting)
        assert all(len(job.sink.ends) == job.is_settled for job in self.jobs)
        serving = [w for w in self.pool.workers if w.channel is not None and w.channel.is_serving]
        idle = [w for w in serving if w.is_serving and not w.channel.in_flight]
        assert not (idle and queue.is_due(self.world.now)), "a due job waits beside an idle worker"
        for fake in self.launcher.started:
            assert all(len(batch) <= queue.batch_size for batch in fake.batches)


@pytest.mark.parametrize("batching", [
    {"batch_size": 1},
    {"batch_size": 3, "max_delay_s": 0.5},
    {"batch_size": 3, "policy": EAGER},
], ids=["single", "window", "eager"])  # fmt: skip
@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_every_job_ends_once_and_none_waits_in_vain(
    world, new_pool, launcher, new_job, batching, seed
):
    pool = new_pool(capacity=20, response_timeout_s=10, **batching)
    pool.scale(2, 2)
    world.advance()
    chaos = Chaos(random.Random(seed), world, pool, launcher, new_job)

    for _ in range(250):
        chaos.step()
    world.run(pool.close(20))

    assert all(len(job.sink.ends) == 1 for job in chaos.jobs)
    assert pool.workers == []
