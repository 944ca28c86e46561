"""Fork if that is safe, else spawn; the nursery and the processes are fakes here."""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar

import pytest

from tsl.frontend import launcher
from tsl.frontend import nursery_client as module
from tsl.frontend.launcher import LocalLauncher
from tsl.frontend.nursery_client import ForkNotPossible, NurseryClient
from tsl.frontend.worker_command import worker_arguments, worker_environ
from tsl.frontend.worker_process import WorkerSpec
from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.frames import Exited, Fork, Forked, ForkRefused, Ping, Unshare


def new_spec(worker_id="w#1", **changes):
    values = {
        "worker_id": worker_id, "label": "W-9000-m_1.0", "token": "secret",
        "socket_path": "/run/s", "model_dir": "/m", "environ": {"A": "1"}, "preload": ("torch",),
    }  # fmt: skip
    return WorkerSpec(**{**values, **changes})


class FakeProcess:
    """In place of `WorkerProcess`, which would look the pid up."""

    def __init__(self, pid, on_exit):
        self.pid = pid
        self.tail = []
        self.returncode = None
        self._on_exit = on_exit

    def exited(self, returncode):
        if self.returncode is None:
            self.returncode = returncode
            self._on_exit(returncode)


class FakePipes:
    """In place of `OutputPipes`; connecting takes some turns of the loop."""

    made: ClassVar[list[FakePipes]] = []
    turns = 1

    def __init__(self):
        self.child_ends = [101, 102]
        self.is_closed = False
        self.is_connected = False
        FakePipes.made.append(self)

    async def connect(self, label, tail, *, is_marked):
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.is_connected = True

    def close_child_ends(self):
        self.child_ends = []

    def close(self):
        self.is_closed = True


class FakeControl:
    """The control socket: notes what is sent, hands out what the test says arrived."""

    def __init__(self):
        self.arrived = []
        self.sent = []
        self.descriptors = []
        self.room = 10**9
        self.is_closed = False

    def recv(self, size):
        item = self.arrived.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self):
        self.is_closed = True

    def send_fds(self, buffers, fds):
        if not self.room:
            raise BlockingIOError
        data = b"".join(buffers)[: self.room]
        self.sent.append(data)
        self.descriptors.append(list(fds))
        return len(data)

    @property
    def frames(self):
        return FrameDecoder().feed(b"".join(self.sent))


class FakePopen:
    def __init__(self):
        self.waited = 0

    def wait(self, timeout=None):
        self.waited += 1
        return 0


@pytest.fixture
def control(world, monkeypatch):
    """A nursery's control socket, watched by the loop."""
    FakePipes.made, FakePipes.turns = [], 1
    control = FakeControl()
    watched = {}
    monkeypatch.setattr(world.loop, "add_reader", watched.__setitem__)
    monkeypatch.setattr(world.loop, "remove_reader", watched.pop)
    writers = {}
    monkeypatch.setattr(world.loop, "add_writer", writers.__setitem__)
    monkeypatch.setattr(world.loop, "remove_writer", writers.pop)

    async def sock_sendall(sock, data):
        sock.sent.append(data)

    monkeypatch.setattr(world.loop, "sock_sendall", sock_sendall)
    monkeypatch.setattr(module.socket, "send_fds", lambda sock, data, fds: sock.send_fds(data, fds))
    monkeypatch.setattr(module, "OutputPipes", FakePipes)
    monkeypatch.setattr(module, "WorkerProcess", FakeProcess)

    def gone(pid):
        raise ProcessLookupError

    monkeypatch.setattr(module.os, "pidfd_open", gone)
    control.watched, control.writers = watched, writers
    return control


@pytest.fixture
def nursery(control):
    return NurseryClient(FakePopen(), control)


def say(control, *frames):
    """The nursery says something."""
    control.arrived.append(b"".join(b"".join(encode(frame)) for frame in frames))
    control.watched[control]()


def fork(world, nursery, spec=None):
    """Begin a fork; answers the task and the list of return codes."""
    codes = []
    task = world.task(nursery.fork(spec or new_spec(), codes.append))
    world.advance()
    return task, codes


# -- what a worker is started with


def test_the_token_is_in_the_environment_and_not_in_the_arguments():
    spec = new_spec()

    assert worker_arguments(spec) == ["--socket", "/run/s", "--worker-id", "w#1"]
    assert worker_environ(spec)["TSL_WORKER_TOKEN"] == "secret"
    assert worker_environ(spec)["A"] == "1"


def test_the_allocator_is_tuned_unless_the_environment_says_otherwise():
    spec = new_spec(environ={"MALLOC_TRIM_THRESHOLD_": "1"})

    result = worker_environ(spec)

    assert result["MALLOC_TRIM_THRESHOLD_"] == "1"
    assert int(result["MALLOC_MMAP_THRESHOLD_"]) > 10**8


# -- the nursery


def test_a_fork_is_ordered_with_descriptors_and_answered_with_a_process(world, nursery, control):
    task, codes = fork(world, nursery)
    (order,) = control.frames
    assert type(order) is Fork
    assert order.worker_id == "w#1"
    assert order.preload == ["torch"]
    assert control.descriptors == [[101, 102]]

    say(control, Forked("w#1", 77))
    process = world.run(task)

    assert process.pid == 77
    assert FakePipes.made[0].is_connected
    assert FakePipes.made[0].child_ends == []
    say(control, Exited("w#1", -9))
    assert codes == [-9]


def test_a_refusal_gives_the_pipes_up(world, nursery, control):
    task, _ = fork(world, nursery)

    say(control, ForkRefused("w#1", "it has threads"))

    with pytest.raises(ForkNotPossible, match="it has threads"):
        world.run(task)
    assert FakePipes.made[0].is_closed


def test_an_exit_together_with_the_fork_is_reported_after_the_process(world, nursery, control):
    story = []

    async def start():
        process = await nursery.fork(new_spec(), lambda code: story.append("exit"))
        story.append("start")
        return process

    task = world.task(start())
    world.advance()
    say(control, Forked("w#1", 77), Exited("w#1", 1))
    process = world.run(task)
    world.advance()

    assert process.returncode == 1
    assert story == ["start", "exit"]


def test_an_exit_while_the_output_is_being_connected_is_reported(world, nursery, control):
    FakePipes.turns = 3
    task, codes = fork(world, nursery)
    say(control, Forked("w#1", 77))
    world.run(asyncio.sleep(0))
    assert not task.done()

    say(control, Exited("w#1", 1))
    world.run(task)
    world.advance()

    assert codes == [1]


def test_the_nurserys_end_while_the_output_is_being_connected_is_reported(world, nursery, control):
    FakePipes.turns = 3
    task, codes = fork(world, nursery)
    say(control, Forked("w#1", 77))
    world.run(asyncio.sleep(0))
    assert not task.done()

    control.arrived.append(b"")
    control.watched[control]()
    world.run(task)
    world.advance(10)

    assert codes == [-9]


@pytest.mark.parametrize(
    "end", [b"", ConnectionResetError(), b"\xff" * 8, b"".join(encode(Ping(1)))],
    ids=["end", "reset", "no frames", "wrong frame"],
)  # fmt: skip
def test_when_the_nursery_goes_its_workers_go_and_its_orders_fail(world, nursery, control, end):
    first, codes = fork(world, nursery)
    say(control, Forked("w#1", 77))
    world.run(first)
    second, _ = fork(world, nursery, new_spec("w#2"))

    control.arrived.append(end)
    control.watched[control]()

    assert nursery.is_dead
    assert control.is_closed
    assert control.watched == {}
    assert codes == [-9]
    with pytest.raises(ForkNotPossible):
        world.run(second)
    assert FakePipes.made[1].is_closed


def test_nothing_to_read_is_no_end(nursery, control):
    control.arrived.append(BlockingIOError())

    control.watched[control]()

    assert not nursery.is_dead


def test_an_answer_for_a_start_that_was_cancelled_is_ignored(world, nursery, control):
    task, _ = fork(world, nursery)
    task.cancel()
    world.advance()
    assert FakePipes.made[0].is_closed

    say(control, Forked("w#1", 77), Exited("w#1", 0))

    assert not nursery.is_dead
    assert nursery._early == {}


def test_an_order_waits_for_room_and_keeps_its_place(world, nursery, control):
    control.room = 0
    first, _ = fork(world, nursery)
    second, _ = fork(world, nursery, new_spec("w#2"))
    assert control.sent == []

    control.room = 10
    control.writers[control]()
    world.advance()

    assert [frame.worker_id for frame in control.frames] == ["w#1", "w#2"]
    for task in (first, second):
        task.cancel()


def test_an_order_that_waits_for_room_fails_with_the_nursery(world, nursery, control):
    control.room = 0
    task, _ = fork(world, nursery)

    control.arrived.append(b"")
    control.watched[control]()

    def refuse(buffers, fds):
        raise OSError(9, "Bad file descriptor")

    control.send_fds = refuse
    with pytest.raises(ForkNotPossible):
        world.run(task)


def test_a_shared_model_is_let_go(world, nursery, control):
    world.run(nursery.unshare("m/1"))

    assert control.frames == [Unshare("m/1")]


def test_closing_ends_the_nursery_and_waits_for_it(world, nursery, control):
    world.run(nursery.close())

    assert control.is_closed
    assert nursery._process.waited == 1


# -- choosing


class FakeNursery:
    def __init__(self):
        self.orders = []
        self.refuses = set()
        self.is_dead = False
        self.is_closed = False
        self.unshared = []

    async def fork(self, spec, on_exit):
        self.orders.append(spec)
        if bool(spec.share) in self.refuses:
            raise ForkNotPossible("it has threads")
        return "forked"

    async def unshare(self, share):
        self.unshared.append(share)

    async def close(self):
        self.is_closed = True


@pytest.fixture
def nurseries(monkeypatch):
    """The nurseries that were started."""
    started = []

    async def start(python, environ):
        assert environ == {"A": "1"}
        started.append(FakeNursery())
        return started[-1]

    async def spawn(python, spec, on_exit):
        return "spawned"

    monkeypatch.setattr(module.NurseryClient, "start", start)
    monkeypatch.setattr(launcher, "_spawn", spawn)
    return started


@pytest.fixture
def local(world):
    return LocalLauncher({"A": "1"})


def launch(world, local, **spec):
    return world.run(local.launch(new_spec(**spec), lambda code: None))


def test_a_worker_is_forked_and_the_nursery_started_once(world, local, nurseries):
    assert launch(world, local) == "forked"
    assert launch(world, local) == "forked"

    assert len(nurseries) == 1


def test_a_model_may_ask_for_a_fresh_process(world, local, nurseries):
    assert launch(world, local, start="spawn") == "spawned"
    assert nurseries == []


def test_a_fresh_process_may_have_an_interpreter_of_its_own(world, local, nurseries, monkeypatch):
    pythons = []

    async def spawn(python, spec, on_exit):
        pythons.append(python)

    monkeypatch.setattr(launcher, "_spawn", spawn)

    launch(world, local, start="spawn", python="/env/bin/python")
    launch(world, local, start="spawn")

    assert pythons == ["/env/bin/python", sys.executable]


def test_where_a_fork_is_not_safe_a_fresh_process_is_started(world, local, nurseries, caplog):
    caplog.set_level("INFO")
    launch(world, local)
    nurseries[0].refuses = {False}

    assert launch(world, local) == "spawned"
    assert "starting a fresh process, because it has threads" in caplog.text


def test_a_dead_nursery_is_replaced(world, local, nurseries):
    launch(world, local)
    nurseries[0].is_dead = True

    launch(world, local)

    assert len(nurseries) == 2


def test_a_model_that_cannot_be_shared_is_forked_alone_from_then_on(world, local, nurseries):
    launch(world, local)
    nurseries[0].refuses = {True}

    assert launch(world, local, share="m", load=b"load") == "forked"
    assert launch(world, local, share="m", load=b"load") == "forked"
    assert [spec.share for spec in nurseries[0].orders] == ["", "m", "", ""]

    world.run(local.forget("m"))
    nurseries[0].refuses = set()
    launch(world, local, share="m", load=b"load")
    assert nurseries[0].orders[-1].share == "m"
    assert nurseries[0].unshared == ["m"]


class EarlyProcess:
    def __init__(self):
        self.process, self.control, self.ends = object(), object(), 0

    def end(self):
        self.ends += 1


def test_a_nursery_that_runs_already_is_used_once(world, nurseries, monkeypatch):
    adopted = []

    class Adopted(FakeNursery):
        start = module.NurseryClient.start  # for the one after it

        def __init__(self, process=None, control=None):
            super().__init__()
            adopted.append((process, control))

    monkeypatch.setattr(launcher, "NurseryClient", Adopted)
    early = EarlyProcess()
    local = LocalLauncher({"A": "1"}, nursery=early)

    world.run(local.prepare())
    assert adopted == [(early.process, early.control)]

    local._nursery.is_dead = True
    launch(world, local)
    assert len(nurseries) == 1
    world.run(local.close())
    assert early.ends == 0


def test_a_nursery_that_nobody_has_asked_for_is_ended(world):
    early = EarlyProcess()

    world.run(LocalLauncher({}, nursery=early).close())

    assert early.ends == 1


def test_closing_ends_the_nursery_if_there_is_one(world, local, nurseries):
    world.run(local.close())
    launch(world, local)
    world.run(local.close())

    assert nurseries[0].is_closed
