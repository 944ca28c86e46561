"""A worker of several ranks: one towards the pool, and its ranks live and die together."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from tsl.frontend import worker_group
from tsl.frontend.batch_pool import BatchPool
from tsl.frontend.batching import BatchQueue
from tsl.frontend.continuous_pool import ContinuousPool
from tsl.frontend.group_plan import GroupPlan
from tsl.frontend.launcher import LaunchError
from tsl.frontend.pipelining import PipelineDepth
from tsl.frontend.worker import END_GRACE_S, Worker
from tsl.frontend.worker_group import LEFT_BEHIND_S, GroupWorker, make_worker
from tsl.frontend.worker_state import WorkerState
from tsl.model_store import Torchrun
from tsl.protocol.errors import HandlerFailed, LoadFailed, ResponseTimeout, WorkerDied, WorkerKilled
from tsl.protocol.frames import (
    Cancel,
    Done,
    Failure,
    Load,
    MetricRecord,
    Metrics,
    Result,
)

ABORT, KILL = 6, 9


class FakePort:
    """In place of a port that is reserved in the system."""

    open: ClassVar[list[FakePort]] = []
    number = 4711

    def __init__(self):
        FakePort.open.append(self)

    def close(self):
        FakePort.open.remove(self)


@pytest.fixture(autouse=True)
def _ports(monkeypatch):
    """No start leaves a port behind."""
    FakePort.open = []
    monkeypatch.setattr(worker_group, "ReservedPort", FakePort)


@pytest.fixture
def released():
    """How often devices were given back."""
    return []


@pytest.fixture
def new_group(world, launcher, listener, metrics, new_plan, released):
    """Makes a pool with one worker of so many ranks; answers it and the fakes."""

    def make(size=2, *, copies_batches=True, answer_timeout_s=60.0, kind=BatchPool, **plan):
        group = GroupPlan(
            size=size, copies_batches=copies_batches, torchrun=Torchrun(), job="m_29500",
            answer_timeout_s=answer_timeout_s, release=lambda: released.append(True),
        )  # fmt: skip

        def new_worker(owner):
            return make_worker(new_plan(group=group, **plan), launcher, listener, owner)

        queue = BatchQueue(capacity=100, capacity_bytes=10**6)
        pool = kind("Model 'm'", queue, new_worker, 120, metrics)
        pool.depth = PipelineDepth(limit=1)
        pool.scale(1, 1)
        world.advance()
        return pool, list(launcher.started)

    return make


@pytest.fixture
def new_serving(new_group):
    def make(*args, **options):
        pool, ranks = new_group(*args, **options)
        for rank in ranks:
            rank.load()
        return pool, ranks

    return make


def done(rank, batch_id):
    rank.send(Done(batch_id))


def worker_of(pool):
    (worker,) = pool.workers
    return worker


# -- the way up


def test_a_plan_without_a_group_makes_an_ordinary_worker(world, launcher, listener, new_plan):
    assert type(make_worker(new_plan(), launcher, listener, None)) is Worker


def test_every_rank_gets_a_process_of_its_own(new_group):
    _, ranks = new_group(3)

    assert [rank.spec.label for rank in ranks] == [
        "W-9000-m_1.0", "W-9000-m_1.0-rank1", "W-9000-m_1.0-rank2",
    ]  # fmt: skip
    assert len({rank.spec.worker_id for rank in ranks}) == 3
    assert len({rank.spec.token for rank in ranks}) == 3
    assert [rank.spec.environ["RANK"] for rank in ranks] == ["0", "1", "2"]
    assert {rank.spec.environ["MASTER_PORT"] for rank in ranks} == {"4711"}
    assert len(FakePort.open) == 1


def test_the_worker_is_ready_when_all_ranks_are(new_group):
    pool, (first, second, third) = new_group(3)

    second.load()
    first.load()
    assert not worker_of(pool).is_serving

    third.load()
    assert worker_of(pool).is_serving
    assert worker_of(pool).pids == [first.pid, second.pid, third.pid]


@pytest.mark.parametrize(("gpu_id", "expected"), [(-1, [-1, -1]), (0, [0, 1])])
def test_only_rank_0_is_to_answer_and_each_has_its_own_device(new_group, gpu_id, expected):
    load = Load("m", "/model", "handler", "", 1, gpu_id, True, 1024, False, "")
    _, ranks = new_group(load=load)

    loads = [rank.connect().received[0] for rank in ranks]

    assert [load.answers for load in loads] == [True, False]
    assert [load.gpu_id for load in loads] == expected


def test_when_one_rank_cannot_be_started_none_is_left(world, launcher, new_group):
    launch = launcher.launch

    async def fail_the_second(spec, on_exit):
        if "rank" in spec.label and len(launcher.started) == 1:
            raise LaunchError("no memory")
        return await launch(spec, on_exit)

    launcher.launch = fail_the_second
    pool, (first,) = new_group()

    assert first.signals == [KILL]
    assert worker_of(pool).load_failure is not None
    assert worker_of(pool).last_failure == "the process cannot be started: no memory"
    launcher.launch = launch
    world.advance(1)
    for rank in launcher.started[1:]:
        rank.load()
    assert worker_of(pool).is_serving


def test_a_start_that_is_cancelled_leaves_nothing(world, launcher, new_group):
    launcher.gate = asyncio.Event()
    pool, ranks = new_group(startup_timeout_s=5)

    world.advance(5)

    assert worker_of(pool).restarts == 1
    for rank in ranks:  # whatever starts later finds no welcome, and ends
        assert rank.connect().transport.is_closed
    launcher.gate.set()
    world.advance()
    for rank in launcher.started[2:]:
        rank.load()
    assert worker_of(pool).is_serving


def test_a_rank_that_cannot_load_is_named(world, new_group):
    pool, (first, second) = new_group()
    first.load()

    second.fail_to_load(reason="ValueError: no")
    second.end(3)
    world.advance()

    worker = worker_of(pool)
    assert worker.last_failure == "rank 1: ValueError: no"
    assert isinstance(worker.load_failure, LoadFailed)
    assert first.signals == [KILL]
    assert worker.restarts == 1


def test_ranks_that_end_while_loading_fail_the_start(world, new_group):
    pool, (first, second) = new_group()
    first.load()

    second.end(1)
    world.advance()

    assert worker_of(pool).last_failure == "rank 1: exit code 1"
    assert isinstance(worker_of(pool).load_failure, LoadFailed)


def test_a_start_that_takes_too_long_ends_all_ranks(world, new_group):
    pool, (first, second) = new_group(startup_timeout_s=5)
    first.load()

    world.advance(5)

    assert (first.signals[0], second.signals[0]) == (ABORT, ABORT)
    assert "startupTimeout" in worker_of(pool).last_failure


def test_ranks_that_have_ended_before_all_were_started(world, launcher, new_group):
    launch = launcher.launch

    async def end_at_once(spec, on_exit):
        fake = await launch(spec, on_exit)
        fake.end(1)
        return fake

    launcher.launch = end_at_once
    pool, _ = new_group()
    world.advance()

    assert worker_of(pool).state is WorkerState.WAITING
    assert worker_of(pool).last_failure == "rank 0: exit code 1"
    worker_of(pool).stop("test")


# -- batches


def test_every_rank_gets_the_batch_and_rank_0_answers(new_serving, new_job):
    pool, (first, second) = new_serving()
    job = new_job("a", body=b"x")

    pool.submit(job)

    assert first.batches == second.batches == [["a"]]
    first.answer(1)
    assert job.sink.body == b"x"


def test_the_next_batch_waits_until_all_ranks_are_done(new_serving, new_job):
    pool, (first, second, third) = new_serving(3)
    pool.submit(new_job("a"))
    pool.submit(new_job("b"))

    first.answer(1)
    done(second, 1)
    assert first.batches == [["a"]]

    done(third, 1)
    assert first.batches == second.batches == third.batches == [["a"], ["b"]]


def test_ranks_may_be_done_before_the_answer(new_serving, new_job):
    pool, (first, second) = new_serving()
    pool.submit(new_job("a"))
    pool.submit(new_job("b"))

    done(second, 1)
    first.answer(1)

    assert first.batches == [["a"], ["b"]]


def test_in_a_pipeline_only_rank_0_gets_the_batches(new_serving, new_job):
    pool, (first, second) = new_serving(copies_batches=False)
    pool.submit(new_job("a"))
    pool.submit(new_job("b"))

    first.answer(1)

    assert first.batches == [["a"], ["b"]]
    assert second.batches == []


def test_a_client_that_leaves_does_not_stop_some_of_the_ranks(new_serving, new_job):
    pool, (first, second) = new_serving()
    job = new_job("a")
    pool.submit(job)

    job.cancel()

    assert not any(type(frame) is Cancel for frame in first.received + second.received)
    first.answer(1)
    done(second, 1)
    pool.submit(new_job("b"))
    assert first.batches == [["a"], ["b"]]


def test_a_rank_that_stays_behind_is_timed_out(world, new_serving, new_job, caplog):
    pool, (first, second) = new_serving(answer_timeout_s=30)
    pool.submit(new_job("a"))
    first.answer(1)

    world.advance(30)

    assert second.signals[0] == ABORT
    assert "rank 1 did not finish a batch that rank 0 had answered" in caplog.text
    assert worker_of(pool).restarts == 1


def test_after_a_failure_the_other_ranks_have_little_time(world, new_serving, new_job):
    """Rank 0 failed before it came to the collective call that the others wait in."""
    pool, (first, second) = new_serving(answer_timeout_s=600)
    job = new_job("a")
    pool.submit(job)
    first.send(Failure(1, HandlerFailed.code, "", 0))
    assert isinstance(job.sink.error, HandlerFailed)

    world.advance(LEFT_BEHIND_S)

    assert second.signals[0] == ABORT


def test_a_handler_that_does_not_answer_is_timed_out_with_all_ranks(world, new_serving, new_job):
    pool, (first, second) = new_serving()
    job = new_job("a")
    pool.submit(job)

    world.advance(120)

    assert isinstance(job.sink.error, ResponseTimeout)
    assert (first.signals[0], second.signals[0]) == (ABORT, ABORT)


@pytest.mark.parametrize(
    "frame",
    [Done(1), Result(1, 0, []), Failure(1, "handler_failed", "", 0)],
    ids=lambda frame: type(frame).__name__,
)
def test_a_rank_that_says_what_it_must_not_say_is_dropped(world, new_serving, frame, caplog):
    pool, (_, second) = new_serving()

    second.send(frame)
    world.advance()

    assert second.transport.is_closed
    world.advance(END_GRACE_S)
    assert worker_of(pool).restarts == 1
    assert "rank 1 closed its connection" in worker_of(pool).last_failure


def test_rank_0_must_answer(world, new_serving, new_job, caplog):
    pool, (first, _) = new_serving()
    pool.submit(new_job("a"))

    done(first, 1)
    world.advance()

    assert first.transport.is_closed
    assert "done without an answer" in caplog.text


def test_metrics_of_all_ranks_count(new_serving, metrics):
    _, ranks = new_serving()
    records = [MetricRecord("n", "ms", "GAUGE", 1.0, [], "", 1)]

    for rank in ranks:
        rank.send(Metrics(records))

    assert metrics.records == records * 2


# -- the way down


@pytest.mark.parametrize("which", [0, 1])
def test_the_end_of_one_rank_ends_all_and_all_are_started_again(
    world, launcher, new_serving, new_job, which
):
    pool, ranks = new_serving()
    job = new_job("a")
    pool.submit(job)

    ranks[which].end(-KILL)
    world.advance()

    assert isinstance(job.sink.error, WorkerKilled)
    assert ranks[1 - which].signals == [KILL]
    assert worker_of(pool).last_failure == f"rank {which}: signal SIGKILL (out of memory?)"
    world.advance(1)
    new = launcher.started[2:]
    assert [rank.spec.label for rank in new] == [rank.spec.label for rank in ranks]
    for rank in new:
        rank.load()
    assert worker_of(pool).is_serving


def test_nothing_is_sent_to_a_group_that_has_lost_a_rank(world, new_serving, new_job):
    pool, (first, second) = new_serving()
    first.ignores_signals = True

    second.end(1)
    pool.submit(new_job("a"))

    assert first.batches == []
    first.end(-KILL)
    world.advance()
    assert isinstance(worker_of(pool).load_failure, type(None))


def test_a_rank_that_only_closes_its_socket_takes_its_worker_with_it(world, new_serving, new_job):
    pool, (first, second) = new_serving()
    job = new_job("a")
    pool.submit(job)

    second.close()
    assert first.signals == []
    world.advance(END_GRACE_S)

    assert (first.signals, second.signals) == ([KILL], [KILL])
    assert isinstance(job.sink.error, WorkerDied | WorkerKilled)


def test_a_group_stops_as_one_after_its_answer(world, new_serving, new_job, released):
    pool, (first, second) = new_serving()
    job = new_job("a", body=b"x")
    pool.submit(job)

    pool.scale(0, 0)
    assert first.is_told_to_stop
    assert second.is_told_to_stop
    first.answer(1)
    first.end(0)
    assert pool.workers != []
    done(second, 1)
    second.end(0)

    assert job.sink.body == b"x"
    assert pool.workers == []
    assert released == [True]
    assert FakePort.open == []
    assert (first.signals, second.signals) == ([], [])


def test_all_ranks_see_the_same_steps_of_a_continuous_batch(new_serving, new_job):
    pool, ranks = new_serving(kind=ContinuousPool)
    first, second = ranks
    pool.submit(new_job("a"))

    first.step(1, a="more")
    assert first.batches == [["a"]]
    done(second, 1)
    first.step(2, a="last")
    done(second, 2)

    assert [rank.batches for rank in ranks] == [[["a"], ["a"]]] * 2


def test_a_group_that_is_to_stop_ends_its_streams_first(world, new_serving, new_job):
    pool, (first, second) = new_serving(kind=ContinuousPool)
    pool.submit(new_job("a"))

    pool.scale(0, 0)
    first.step(1, a="more")
    done(second, 1)
    assert not first.is_told_to_stop
    assert not second.is_told_to_stop
    first.step(2, a="last")
    done(second, 2)

    assert first.is_told_to_stop
    assert second.is_told_to_stop
    first.end(0)
    second.end(0)
    world.advance()
    assert pool.workers == []


@pytest.mark.parametrize("copies_batches", [True, False])
def test_a_rank_that_does_not_stop_is_killed(world, new_serving, copies_batches):
    pool, (first, second) = new_serving(copies_batches=copies_batches)

    pool.scale(0, 0)
    assert second.is_told_to_stop
    first.end(0)
    world.advance(END_GRACE_S)

    assert set(second.signals) == {KILL}
    assert pool.workers == []


def test_a_group_that_is_loading_is_stopped_at_once(world, new_group, released):
    pool, (first, second) = new_group()
    first.load()

    pool.scale(0, 0)
    world.advance()

    assert (first.signals, second.signals) == ([KILL], [KILL])
    assert released == [True]


def test_a_restarted_group_keeps_its_devices(world, new_serving, released):
    pool, (first, _) = new_serving()

    first.end(1)
    world.advance(1)

    assert released == []
    assert isinstance(worker_of(pool), GroupWorker)
