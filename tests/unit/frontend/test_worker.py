"""One worker's life: every way up, every way down, and what comes too late."""

from __future__ import annotations

import asyncio

import pytest

from tsl.frontend.launcher import LaunchError
from tsl.frontend.worker import END_GRACE_S, READ_GRACE_S, Worker
from tsl.frontend.worker_channel import StepBatch
from tsl.frontend.worker_state import WorkerState
from tsl.protocol.errors import (
    LoadFailed,
    LoadOutOfMemory,
    ResponseTimeout,
    WorkerDied,
    WorkerKilled,
)
from tsl.protocol.frames import Loaded, LoadFailure, MetricRecord, Metrics, Shutdown

KILL, ABORT = 9, 6


class Owner:
    """Notes what the worker tells its pool."""

    has_steps = False

    def __init__(self):
        self.heard = []
        self.changes = 0
        self.steps_left = 0
        self.causes = []
        self.channels = []

    def worker_ready(self, worker):
        self.heard.append("ready")

    def worker_free(self, worker, batch, service_us):
        self.heard.append("free")

    def continue_batch(self, worker, batch):
        if not self.steps_left:
            return False
        self.steps_left -= 1
        worker.channel.send_shared(batch.jobs, 0.0, StepBatch)
        return True

    def worker_lost(self, worker, channel, cause):
        self.heard.append("lost")
        self.causes.append(cause)
        self.channels.append(channel)

    def worker_changed(self, worker):
        self.changes += 1

    def worker_ended(self, worker):
        self.heard.append("ended")

    def worker_metrics(self, worker, records):
        self.heard.append(records)


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def new_worker(world, launcher, listener, owner, new_plan):
    def make(**plan):
        return Worker(new_plan(**plan), launcher, listener, owner)

    return make


@pytest.fixture
def worker(new_worker):
    return new_worker()


def start(world, worker):
    """Start, and give the launcher a moment."""
    worker.start()
    world.advance()


@pytest.fixture
def serving(world, worker, launcher):
    """A worker that serves; its process is ``launcher.last``."""
    start(world, worker)
    launcher.last.load()
    return worker


def send(world, worker, *jobs):
    worker.channel.send_batch(list(jobs), world.now)
    world.advance()


# -- the way up


def test_a_worker_begins_stopped(worker):
    assert worker.state is WorkerState.STOPPED
    assert worker.pid == -1
    assert not worker.is_healthy
    assert repr(worker) == "<Worker W-9000-m_1.0 STOPPED>"


def test_start_greet_load(world, worker, launcher, owner):
    start(world, worker)
    assert worker.state is WorkerState.STARTING
    assert worker.started_at is not None

    launcher.last.connect()
    assert worker.state is WorkerState.LOADING
    assert not worker.is_serving

    launcher.last.send(Loaded(12.5))
    assert worker.is_serving
    assert worker.load_ms == 12.5
    assert worker.pid == launcher.last.pid
    assert owner.heard == ["ready"]


def test_every_start_has_its_own_id_and_token(world, serving, launcher):
    first = launcher.last.spec
    launcher.last.end(1)
    world.advance(1)

    second = launcher.last.spec
    assert first.worker_id != second.worker_id
    assert first.token != second.token
    assert first.label == second.label


def test_metrics_go_to_the_owner(serving, launcher, owner):
    records = [MetricRecord("n", "ms", "GAUGE", 1.0, [], "", 1)]

    launcher.last.send(Metrics(records))

    assert owner.heard == ["ready", records]


def test_an_answered_batch_is_reported(world, serving, launcher, owner, new_job):
    send(world, serving, new_job())

    launcher.last.answer(1)

    assert owner.heard == ["ready", "free"]


# -- failing on the way up


def test_a_process_that_cannot_be_started_is_tried_again(world, worker, launcher, owner):
    launcher.failure = LaunchError("no such interpreter")
    start(world, worker)
    assert worker.state is WorkerState.WAITING
    assert type(worker.load_failure) is LoadFailed
    assert "no such interpreter" in worker.last_failure

    launcher.failure = None
    world.advance(1.1)
    launcher.last.load()

    assert worker.is_serving
    assert worker.load_failure is None
    assert owner.heard == ["lost", "lost", "ready"]


def test_a_launcher_that_breaks_does_not_leave_the_worker_hanging(world, worker, launcher):
    launcher.failure = ValueError("embedded null byte")
    start(world, worker)

    assert worker.state is WorkerState.WAITING


@pytest.mark.parametrize(("returncode", "cause"), [(1, WorkerDied), (-9, WorkerKilled)])
def test_an_exit_before_the_hello(world, worker, launcher, owner, returncode, cause):
    start(world, worker)

    launcher.last.exit(returncode)

    assert worker.state is WorkerState.WAITING
    assert worker.has_failed_to_load
    assert owner.heard == ["lost"]
    assert [type(error) for error in owner.causes] == [cause]


def test_a_process_that_exited_is_not_expected_any_more(world, worker, launcher):
    start(world, worker)
    dead = launcher.last
    dead.exit(1)

    dead.connect()
    world.advance()

    assert dead.transport.is_closed
    assert dead.received == []


def test_a_load_failure_is_remembered_with_its_reason(world, worker, launcher, owner):
    start(world, worker)
    launcher.last.fail_to_load("load_out_of_memory", "MemoryError")

    launcher.last.end(1)

    assert worker.state is WorkerState.WAITING
    assert type(worker.load_failure) is LoadOutOfMemory
    assert worker.last_failure == "MemoryError"


def test_after_a_load_failure_the_process_is_killed_if_it_stays(world, worker, launcher):
    start(world, worker)
    launcher.last.fail_to_load()
    failed = launcher.last

    world.advance(END_GRACE_S + 0.1)

    assert failed.signals == [KILL]
    assert worker.state is not WorkerState.LOADING


def test_a_load_failure_with_an_unknown_code_ends_the_worker(world, worker, launcher):
    start(world, worker)
    failed = launcher.last
    failed.fail_to_load("nope")

    world.advance(END_GRACE_S + 0.1)

    assert failed.signals == [KILL]
    assert type(worker.load_failure) is LoadFailed


@pytest.mark.parametrize("connects", [False, True], ids=["silent", "loading"])
def test_a_worker_that_does_not_load_in_time_shows_its_stack_and_is_killed(
    world, new_worker, launcher, connects
):
    worker = new_worker(startup_timeout_s=30)
    start(world, worker)
    slow = launcher.last
    slow.ignores_signals = True
    if connects:
        slow.connect()

    world.advance(30.1)
    assert slow.signals == [ABORT]
    assert "startupTimeout (30 s)" in worker.last_failure

    world.advance(END_GRACE_S)
    assert slow.signals == [ABORT, KILL]
    assert type(worker.load_failure) is LoadFailed


@pytest.mark.parametrize("connects", [False, True], ids=["silent", "loading"])
def test_the_reason_of_a_timeout_is_not_hidden_by_the_signal(world, new_worker, launcher, connects):
    worker = new_worker(startup_timeout_s=30)
    start(world, worker)
    if connects:
        launcher.last.connect()

    world.advance(30.5)

    assert "startupTimeout" in worker.last_failure


def test_the_reason_of_an_earlier_start_is_forgotten(world, worker, launcher):
    start(world, worker)
    launcher.last.fail_to_load(reason="No module named 'x'")
    launcher.last.end(1)
    world.advance(0.1)

    launcher.last.connect()
    launcher.last.end(-11)

    assert worker.last_failure == "signal SIGSEGV"


def test_a_launcher_that_hangs_is_given_up_at_the_startup_timeout(world, new_worker, launcher):
    launcher.gate = asyncio.Event()
    worker = new_worker(startup_timeout_s=30)
    start(world, worker)

    world.advance(31)

    assert worker.has_failed_to_load
    assert len(launcher.started) > 1, "it is tried again"


# -- death and restart


def test_a_worker_that_dies_comes_back(world, serving, launcher, owner):
    launcher.last.end(-11)
    assert serving.state is WorkerState.WAITING
    assert serving.pid == -1
    assert serving.is_healthy
    assert serving.last_failure == "signal SIGSEGV"

    world.advance(0.1)
    launcher.last.load()

    assert serving.is_serving
    assert serving.restarts == 1
    assert owner.heard == ["ready", "lost", "ready"]


def test_restarts_wait_longer_and_longer(world, worker, launcher):
    start(world, worker)
    starts = []

    for _ in range(6):
        begun = world.now
        count = len(launcher.started)
        launcher.last.exit(1)
        while len(launcher.started) == count:
            world.advance(0.5)
        starts.append(world.now - begun)

    assert [round(delay) for delay in starts] == [0, 1, 1, 2, 3, 5]


def test_after_the_retry_window_a_worker_is_abandoned(world, new_worker, launcher, owner):
    worker = new_worker(retry_window_s=4)
    start(world, worker)

    while worker.state is not WorkerState.ABANDONED:
        launcher.last.exit(1)
        world.advance(0.5)

    assert not worker.is_healthy
    assert owner.heard[-1] == "ended"
    assert world.now >= 1004


def test_without_a_retry_window_the_first_death_is_the_last(world, new_worker, launcher, owner):
    worker = new_worker(retry_window_s=0)
    start(world, worker)
    launcher.last.load()

    launcher.last.end(1)

    assert worker.state is WorkerState.ABANDONED
    assert owner.heard == ["ready", "lost", "ended"]
    world.run(worker.wait_gone())


def test_the_cause_names_what_happened(serving, launcher, owner):
    launcher.last.end(3)

    assert str(owner.causes[0]) == "Worker died. (exit code 3)"


def test_the_last_line_of_stderr_is_logged(serving, launcher, caplog):
    launcher.last.end(3)

    assert "last line of its stderr: the last line" in caplog.text


# -- exit and end of stream come in any order


def test_exit_before_the_end_of_the_stream_waits_for_what_is_still_to_be_read(
    world, serving, launcher, owner, new_job
):
    job = new_job()
    send(world, serving, job)

    launcher.last.exit(1)
    assert serving.state is WorkerState.SERVING
    assert not serving.is_serving
    launcher.last.answer(1, b"last words")
    assert job.sink.body == b"last words"
    launcher.last.close()

    assert serving.state is WorkerState.WAITING
    assert owner.heard == ["ready", "free", "lost"]


def test_a_child_that_keeps_the_socket_open_does_not_hold_up_the_end(
    world, serving, launcher, owner
):
    launcher.last.exit(1)

    world.advance(READ_GRACE_S + 0.1)

    assert "lost" in owner.heard


def test_end_of_stream_before_the_exit_waits_for_the_exit(world, serving, launcher, owner):
    launcher.last.close()
    assert owner.heard == ["ready"]

    launcher.last.exit(1)

    assert owner.heard == ["ready", "lost"]


def test_a_process_that_only_closes_its_socket_is_killed(world, serving, launcher, owner):
    fake = launcher.last
    fake.close()

    world.advance(END_GRACE_S + 0.1)

    assert fake.signals == [KILL]
    assert type(owner.causes[0]) is WorkerKilled


def test_a_worker_that_breaks_the_protocol_is_dropped_and_comes_back(
    world, serving, launcher, owner
):
    launcher.last.send_bytes(b"\xff" * 8)

    world.advance(END_GRACE_S + 0.1)

    assert owner.heard == ["ready", "lost"]
    assert serving.state is WorkerState.STARTING


def test_the_channel_with_its_jobs_is_handed_over(world, serving, launcher, owner, new_job):
    channel = serving.channel
    send(world, serving, new_job())

    launcher.last.end(1)

    assert owner.channels == [channel]
    assert serving.channel is None


# -- the response timeout


def test_a_silent_worker_shows_its_stack_and_is_killed(world, serving, launcher, owner):
    fake = launcher.last
    fake.ignores_signals = True

    serving.time_out()
    assert fake.signals == [ABORT]
    assert fake.is_told_to_stop
    assert type(serving.verdict) is ResponseTimeout

    world.advance(END_GRACE_S + 0.1)
    assert fake.signals == [ABORT, KILL]
    fake.end(-9)
    assert type(owner.causes[0]) is ResponseTimeout


def test_a_worker_that_was_not_timed_out_has_died(serving):
    assert type(serving.verdict) is WorkerDied


def test_a_verdict_is_for_one_life(world, serving, launcher):
    serving.time_out()
    world.advance(0.5)

    assert type(serving.verdict) is WorkerDied


def test_the_reason_of_a_response_timeout_is_not_hidden_by_the_signal(world, serving):
    serving.time_out()
    world.advance(0.1)

    assert serving.last_failure == "no answer within responseTimeout"


# -- stopping, in every state


def test_an_idle_worker_is_asked_and_goes(world, serving, launcher, owner):
    serving.stop("scaled down")
    assert serving.state is WorkerState.STOPPING
    assert launcher.last.received[-1] == Shutdown("scaled down")

    launcher.last.end(0)

    assert serving.state is WorkerState.STOPPED
    assert owner.heard == ["ready", "lost", "ended"]
    world.run(serving.wait_gone())


def test_an_idle_worker_that_does_not_go_is_killed(world, serving, launcher):
    serving.stop("scaled down")

    world.advance(END_GRACE_S + 0.1)

    assert launcher.last.signals == [KILL]
    assert serving.state is WorkerState.STOPPED


def test_a_busy_worker_finishes_first(world, serving, launcher, new_job):
    job = new_job()
    send(world, serving, job)
    serving.stop("scaled down")

    world.advance(10 * END_GRACE_S)
    assert launcher.last.signals == []
    launcher.last.answer(1)
    assert len(job.sink.ends) == 1
    world.advance(END_GRACE_S + 0.1)

    assert launcher.last.signals == [KILL]
    assert serving.state is WorkerState.STOPPED


def test_stopping_while_the_process_is_being_launched(world, worker, launcher, owner):
    launcher.gate = asyncio.Event()
    start(world, worker)
    worker.stop("unregistered")
    assert worker.state is WorkerState.STOPPING

    launcher.gate.set()
    world.advance(0.1)

    assert launcher.last.signals == [KILL]
    assert worker.state is WorkerState.STOPPED
    assert owner.heard == ["lost", "ended"]


def test_stopping_during_a_launch_that_is_overtaken_by_the_hello(world, worker, launcher):
    """The worker can connect before the launcher has reported its pid."""
    launcher.gate = asyncio.Event()
    start(world, worker)
    worker.stop("unregistered")
    launcher.last.connect()

    launcher.gate.set()
    world.advance(END_GRACE_S + 0.1)

    assert worker.state is WorkerState.STOPPED


def test_stopping_while_the_launch_fails(world, worker, launcher, owner):
    launcher.failure = LaunchError("no")
    worker.start()
    worker.stop("unregistered")

    world.advance(0.1)

    assert worker.state is WorkerState.STOPPED
    assert owner.heard == ["lost", "ended"]


def test_killing_a_worker_whose_launcher_hangs(world, worker, launcher, owner):
    launcher.gate = asyncio.Event()
    start(world, worker)
    worker.stop("unregistered")

    worker.kill()
    world.advance()

    assert worker.state is WorkerState.STOPPED
    assert owner.heard == ["lost", "ended"]
    launcher.gate.set()
    world.advance(0.1)
    assert owner.heard == ["lost", "ended"]


def test_a_worker_that_greeted_before_a_launcher_hung_is_disconnected(world, worker, launcher):
    """Nobody knows its pid: without the end of its socket it would live, and answer, for ever."""
    launcher.gate = asyncio.Event()
    start(world, worker)
    orphan = launcher.last.connect()

    worker.stop("unregistered")
    worker.kill()
    world.advance()

    assert worker.state is WorkerState.STOPPED
    assert orphan.transport.is_closed


def test_killing_a_dead_worker_ends_the_wait_for_its_socket(world, serving, launcher):
    dead = launcher.last
    dead.exit(1)

    serving.kill()
    world.advance()

    assert dead.transport.is_closed


def test_a_worker_whose_jobs_need_more_batches_is_told_to_stop_after_the_last(
    world, serving, owner, launcher, new_job
):
    owner.has_steps = True
    owner.steps_left = 1
    serving.channel.send_shared([new_job()], world.now, StepBatch)

    serving.stop("scaled down")
    launcher.last.step(1, job="more")
    assert not launcher.last.is_told_to_stop
    launcher.last.step(2, job="last")

    assert launcher.last.is_told_to_stop
    world.advance(END_GRACE_S + 0.1)
    assert launcher.last.signals == [KILL]
    assert owner.heard[:1] == ["ready"]
    assert "free" not in owner.heard


def test_an_idle_worker_whose_jobs_would_need_more_batches_is_stopped_at_once(
    world, serving, owner, launcher
):
    owner.has_steps = True

    serving.stop("scaled down")

    assert launcher.last.is_told_to_stop
    launcher.last.end()
    world.advance()


def test_stopping_a_worker_that_has_not_connected_kills_it(world, worker, launcher):
    start(world, worker)

    worker.stop("unregistered")
    world.advance()

    assert launcher.last.signals == [KILL]
    assert worker.state is WorkerState.STOPPED


def test_stopping_a_worker_that_loads_kills_it_because_it_would_not_hear(
    world, worker, launcher, owner
):
    start(world, worker)
    launcher.last.connect()

    worker.stop("unregistered")
    assert launcher.last.signals == [KILL]
    launcher.last.send(Loaded(5.0))
    assert worker.state is WorkerState.STOPPING
    launcher.last.end(-9)

    assert worker.state is WorkerState.STOPPED
    assert "ready" not in owner.heard


def test_stopping_a_worker_that_cannot_load(world, worker, launcher):
    start(world, worker)
    launcher.last.fail_to_load()

    worker.stop("unregistered")
    world.advance(END_GRACE_S + 0.1)

    assert worker.state is WorkerState.STOPPED


def test_a_load_failure_that_crosses_the_stop(world, worker, launcher):
    start(world, worker)
    launcher.last.connect()
    worker.stop("unregistered")
    launcher.last.send(LoadFailure("load_failed", "why"))
    world.advance(END_GRACE_S + 0.1)

    assert worker.state is WorkerState.STOPPED


def test_stopping_a_worker_that_waits_for_its_restart(world, worker, launcher, owner):
    start(world, worker)
    launcher.last.exit(1)
    launcher.last.exit(1)
    world.advance(0.1)
    launcher.last.exit(1)
    assert worker.state is WorkerState.WAITING
    count = len(launcher.started)

    worker.stop("unregistered")
    world.advance(100)

    assert worker.state is WorkerState.STOPPED
    assert len(launcher.started) == count
    assert owner.heard[-1] == "ended"


def test_stopping_an_abandoned_worker(world, new_worker, launcher, owner):
    worker = new_worker(retry_window_s=0)
    start(world, worker)
    launcher.last.exit(1)
    assert worker.state is WorkerState.ABANDONED

    worker.stop("replaced")

    assert worker.state is WorkerState.STOPPED
    assert owner.heard == ["lost", "ended", "ended"]


def test_stopping_twice_is_stopping_once(world, serving, launcher, owner):
    serving.stop("first")
    serving.stop("second")
    told = [frame for frame in launcher.last.received if type(frame) is Shutdown]
    launcher.last.end(0)
    serving.stop("third")

    assert told == [Shutdown("first")]
    assert owner.heard == ["ready", "lost", "ended"]


def test_stopping_a_timed_out_worker_still_kills_it(world, serving, launcher):
    fake = launcher.last
    fake.ignores_signals = True
    serving.time_out()

    serving.stop("unregistered")
    world.advance(END_GRACE_S + 0.1)

    assert KILL in fake.signals


def test_stopping_a_worker_that_closed_its_socket_over_a_batch_still_kills_it(
    world, serving, launcher, new_job
):
    """The kill that the lost connection had set up must not be called off by the stop."""
    send(world, serving, new_job())
    launcher.last.close()

    serving.stop("unregistered")
    world.advance(10 * END_GRACE_S)

    assert launcher.last.signals == [KILL]
    assert serving.state is WorkerState.STOPPED


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_stopping_a_dead_worker_whose_child_keeps_the_socket_open(
    world, serving, launcher, new_job, busy
):
    """The end of the process was reported; only the abort of the connection can end the wait."""
    if busy:
        send(world, serving, new_job())
    launcher.last.exit(1)

    serving.stop("unregistered")
    world.advance(10 * END_GRACE_S)

    assert serving.state is WorkerState.STOPPED


def test_a_worker_that_exits_while_stopping_does_not_come_back(world, serving, launcher):
    serving.stop("scaled down")
    launcher.last.end(-11)
    world.advance(100)

    assert serving.state is WorkerState.STOPPED
    assert len(launcher.started) == 1


# -- too late


def test_what_comes_after_the_end_is_no_error(world, serving, launcher, owner):
    serving.stop("scaled down")
    launcher.last.end(0)
    heard = list(owner.heard)

    serving.kill()
    serving.time_out()
    serving.on_channel_lost()
    serving.on_loaded(1.0)
    world.advance(100)

    assert serving.state is WorkerState.STOPPED
    assert owner.heard == heard


def test_an_exit_that_is_reported_late_does_not_touch_the_next_life(world, worker, launcher):
    start(world, worker)
    first = launcher.last
    first.exit(1)
    world.advance(0.1)
    launcher.last.load()

    first._on_exit(1)
    world.advance(END_GRACE_S)

    assert launcher.last.signals == []


def test_a_load_failure_then_a_timeout_then_the_exit(world, new_worker, launcher):
    worker = new_worker(startup_timeout_s=1)
    start(world, worker)
    fake = launcher.last
    fake.ignores_signals = True
    fake.fail_to_load("load_out_of_memory", "MemoryError")

    world.advance(END_GRACE_S + 1)
    fake.end(-9)

    assert worker.state is WorkerState.WAITING
    assert type(worker.load_failure) is LoadOutOfMemory
