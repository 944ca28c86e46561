"""Fakes for the core of the front end: time, processes and the workers' end of a socket.

The fakes stand at the two edges of the process: `FakeTransport` in place of a socket and
`FakeLauncher` in place of the operating system. Everything between them is the real thing, and
`FakeWorker` speaks the real frames through the real `Channel` table. Time is a number: `World`
advances it, and no test sleeps.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio.events import _set_running_loop
from collections import deque

import pytest
from fakes import hand_over

from tsl.frontend import (
    async_pool,
    batch_pool,
    continuous_pool,
    learned_pool,
    sequence_pool,
    worker,
    worker_channel,
    worker_pool,
)
from tsl.frontend.batch_pool import BatchPool
from tsl.frontend.batching import BatchQueue
from tsl.frontend.busy_loop import BusyLoop
from tsl.frontend.jobs import Job
from tsl.frontend.loop_turn import LoopTurn
from tsl.frontend.worker import Worker, WorkerPlan
from tsl.frontend.worker_channel import WorkerChannel
from tsl.frontend.worker_listener import WorkerListener
from tsl.frontend.worker_process import WorkerSpec
from tsl.protocol.channel import Channel, Side
from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.frames import (
    PROTOCOL_VERSION,
    Chunk,
    Hello,
    Load,
    Loaded,
    LoadFailure,
    Part,
    Predict,
    Reply,
    Result,
    Row,
    Shutdown,
)


class ReplyRecorder:
    """A `ReplySink` that notes what it hears: ``("finish", reply)`` and so on."""

    def __init__(self):
        self.events = []

    def finish(self, job, reply):
        self.events.append(("finish", reply))

    def chunk(self, job, chunk):
        self.events.append(("chunk", chunk))

    def fail(self, job, error):
        self.events.append(("fail", error))

    @property
    def ends(self):
        """Everything but the pieces of a stream."""
        return [event for event in self.events if event[0] != "chunk"]

    @property
    def error(self):
        """The error that was the one end."""
        ((kind, error),) = self.ends
        assert kind == "fail"
        return error

    @property
    def body(self):
        """The body that was the one end."""
        ((kind, reply),) = self.ends
        assert kind == "finish"
        return bytes(reply.body)


def make_job(name="job", *, now=0.0, deadline=None, body=b"x", headers=(), kind=Job):
    """A job with a `ReplyRecorder`; its request id and, by default, body tell it apart."""
    row = Row(name, list(headers), [], [Part("body", "", body)])
    return kind(row, ReplyRecorder(), now, deadline)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when there is nothing else to do."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0

    def time(self):
        return self.now

    def run_in_executor(self, executor, func, *args):
        """Run the function at once: there are no threads in unit tests."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _run_once(self):
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready and not self._stopping:
            assert self._scheduled, "everybody waits, and nothing is going to happen"
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


class World:
    """Virtual time, seen by the loop and by the modules under test alike.

    The test body runs as if it were inside of the loop: plain calls may set timers.
    """

    def __init__(self):
        self.loop = VirtualLoop()
        self.errors = []
        self.loop.set_exception_handler(lambda _loop, context: self.errors.append(context))

    @property
    def now(self):
        return self.loop.now

    def monotonic(self):
        """Stands in for ``time.monotonic``."""
        return self.loop.now

    def run(self, coroutine):
        """Run a coroutine to its end."""
        _set_running_loop(None)
        try:
            return self.loop.run_until_complete(coroutine)
        finally:
            _set_running_loop(self.loop)

    def advance(self, seconds=0.0):
        """Let everything happen that happens within so many seconds."""
        self.run(asyncio.sleep(seconds))
        self.run(asyncio.sleep(0))

    def task(self, coroutine):
        """Start a coroutine beside the test."""
        return self.loop.create_task(coroutine)


@pytest.fixture
def world(monkeypatch):
    """Virtual time; callbacks that raise fail the test."""
    world = World()
    pools = (async_pool, batch_pool, continuous_pool, learned_pool, sequence_pool, worker_pool)
    for module in (*pools, worker, worker_channel):
        monkeypatch.setattr(module, "time", world)
    _set_running_loop(world.loop)
    yield world
    world.advance()
    _set_running_loop(None)
    for task in asyncio.all_tasks(world.loop):
        task.cancel()
    world.loop.run_until_complete(asyncio.sleep(0))
    world.loop.close()
    assert world.errors == []


class FakeTransport:
    """The front end's socket to a worker; bytes go straight to the `FakeWorker`."""

    def __init__(self, protocol, peer=None):
        self.protocol = protocol
        self.peer = peer
        self.written = []
        self.options = []
        self.is_reading = True
        self.is_closed = False

    def get_extra_info(self, name):
        assert name == "socket"
        return self

    def setsockopt(self, *option):
        self.options.append(option)

    def get_protocol(self):
        return self.protocol

    def set_protocol(self, protocol):
        self.protocol = protocol

    def write(self, data):
        self.writelines([data])

    def writelines(self, buffers):
        self.written.append(list(buffers))
        if self.peer is not None and not self.is_closed:
            self.peer.take(b"".join(buffers))

    def abort(self):
        asyncio.get_running_loop().call_soon(self.lose)

    def lose(self):
        """The connection ends; the protocol hears it once."""
        if not self.is_closed:
            self.is_closed = True
            self.protocol.connection_lost(None)

    def pause_reading(self):
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self):
        assert not self.is_reading
        self.is_reading = True


class FakeWorker:
    """A worker process and its end of the socket, driven by the test."""

    def __init__(self, launcher, spec, on_exit):
        self.pid = next(launcher.pids)
        self.spec = spec
        self.returncode = None
        self.tail = deque(["the last line"])
        self.signals = []
        self.ignores_signals = False
        self.transport = None
        self._received = []
        self._world = launcher.world
        self._listener = launcher.listener
        self._on_exit = on_exit
        self._decoder = FrameDecoder()
        self._channel = Channel()

    # What the front end does with a process...

    def kill(self):
        self._signal(9)

    def abort(self):
        self._signal(6)

    def _signal(self, number):
        self.signals.append(number)
        if self.returncode is None and not self.ignores_signals:
            asyncio.get_running_loop().call_soon(self.end, -number)

    # ...what the process does...

    def exit(self, returncode=0):
        """Report the exit alone; the socket is still to be read."""
        if self.returncode is None:
            self.returncode = returncode
            self._on_exit(returncode)

    def close(self):
        """Close the socket alone."""
        if self.transport is not None:
            self.transport.lose()

    def end(self, returncode=0):
        """Close the socket and exit."""
        self.close()
        self.exit(returncode)

    # ...and what it says and hears.

    def take(self, data):
        for frame in self._decoder.feed(data):
            self._channel.step(Side.FRONT_END, frame)
            self._received.append(frame)

    @property
    def received(self):
        """The frames that have arrived once the front end has written all it wants to."""
        self._world.advance()
        return self._received

    def send(self, *frames):
        for frame in frames:
            self._channel.step(Side.WORKER, frame)
        self.send_bytes(b"".join(b"".join(encode(frame)) for frame in frames))

    def send_bytes(self, data):
        hand_over(self.transport, data)

    def connect(self):
        """Connect and say hello; the front end answers with `Load`."""
        channel = WorkerChannel(self._listener._claim, self._listener._turn, BusyLoop())
        self.transport = FakeTransport(channel, self)
        channel.connection_made(self.transport)
        self.send(Hello(PROTOCOL_VERSION, self.spec.worker_id, self.spec.token, self.pid))
        self._world.advance()
        return self

    def load(self):
        """Connect and load."""
        self.connect()
        self.send(Loaded(12.5))
        return self

    def fail_to_load(self, code="load_failed", reason="No module named 'x'"):
        self.connect()
        self.send(LoadFailure(code, reason))
        return self

    @property
    def batches(self):
        """The `Predict` frames that arrived, as lists of request ids."""
        return [
            [row.request_id for row in frame.rows]
            for frame in self.received
            if type(frame) is Predict
        ]

    @property
    def is_told_to_stop(self):
        return any(type(frame) is Shutdown for frame in self.received)

    def step(self, batch_id, **replies):
        """Answer a step; each row, named by its request id, says "more", "last" or "done"."""
        self.send(Result(batch_id, 100, [STEP_REPLIES[kind] for kind in replies.values()]))

    def answer(self, batch_id, *bodies, service_us=100):
        """Answer a batch, by default with the bodies of its rows."""
        if not bodies:
            (predict,) = (f for f in self.received if type(f) is Predict and f.batch_id == batch_id)
            bodies = [row.parts[0].body for row in predict.rows]
        self.send(Result(batch_id, service_us, [Reply(200, "", [], "", body) for body in bodies]))

    def stream(self, batch_id, row, body):
        self.send(Chunk(batch_id, row, 0, "", [], body))


class FakeLauncher:
    """Starts `FakeWorker`s; they do nothing until the test says so."""

    def __init__(self, world, listener):
        self.world = world
        self.listener = listener
        self.started = []
        self.forgotten = []
        self.failure = None
        self.gate = None
        self.pids = iter(range(4001, 5000))

    async def launch(self, spec, on_exit):
        if self.failure is not None:
            raise self.failure
        fake = FakeWorker(self, spec, on_exit)
        self.started.append(fake)
        if self.gate is not None:
            await self.gate.wait()
        return fake

    async def forget(self, share):
        self.forgotten.append(share)

    async def close(self):
        """Nothing is held."""

    @property
    def last(self):
        return self.started[-1]


STEP_REPLIES = {
    "more": Reply(0, "", ["ts_stream_next", "true"], "", b"+"),
    "last": Reply(0, "", ["ts_stream_next", "false"], "", b"."),
    "done": Reply(0, "", [], "", b"!"),
}

LOAD = Load("m", "/model", "handler", "", 1, -1, True, 1024, False, "", False)


def make_plan(number=9000, **changes):
    """What a worker is started with: 120 s to load, 300 s of retries."""
    label = f"W-{number}-m_1.0"
    values = {
        "number": number,
        "label": label,
        "load": LOAD,
        "max_reply_bytes": 1024 * 1024,
        "startup_timeout_s": 120,
        "retry_window_s": 300,
        "spec": lambda worker_id, token: WorkerSpec(
            worker_id=worker_id,
            label=label,
            token=token,
            socket_path="/none",
            model_dir="/model",
            environ={},
        ),
    }
    return WorkerPlan(**{**values, **changes})


class FakeMetrics:
    """A `MetricSink`, and the `MetricSinks` that gives it to everybody."""

    def __init__(self):
        self.records = []
        self.batches = []
        self.loads = []
        self.models = []

    def of(self, name, version):
        self.models.append((name, version))
        return self

    def record(self, records):
        self.records += records

    def predicted(self, batch, service_us):
        self.batches.append(([job.row.request_id for job in batch.jobs], service_us))

    def loaded(self, label, milliseconds):
        self.loads.append((label, milliseconds))


@pytest.fixture
def listener(tmp_path):
    """A real listener without its socket."""
    return WorkerListener(tmp_path, LoopTurn(), BusyLoop())


@pytest.fixture
def launcher(world, listener):
    return FakeLauncher(world, listener)


@pytest.fixture
def metrics():
    return FakeMetrics()


@pytest.fixture
def new_job():
    """Makes jobs with a `ReplyRecorder` each."""
    return make_job


@pytest.fixture
def new_plan():
    """Makes worker plans."""
    return make_plan


@pytest.fixture
def new_pool(world, launcher, listener, metrics):
    """Makes pools whose workers are `FakeWorker`s of ``launcher``."""

    def make(*, response_timeout_s=120, plan=None, kind=BatchPool, queue=None, **settings):
        if queue is None:
            queue = BatchQueue(**{"capacity": 100, "capacity_bytes": 10**6, **settings})
        numbers = iter(range(9000, 9999))

        def new_worker(owner):
            return Worker(make_plan(next(numbers), **(plan or {})), launcher, listener, owner)

        return kind("Model 'm'", queue, new_worker, response_timeout_s, metrics)

    return make


@pytest.fixture
def submit(world, new_job):
    """Makes and submits a job that arrives now."""

    def put(pool, name="job", **arguments):
        job = new_job(name, now=world.now, **arguments)
        pool.submit(job)
        return job

    return put


@pytest.fixture
def new_serving(world, launcher, new_pool):
    """Makes a pool with loaded workers; answers the pool and the fakes."""

    def make(workers=1, **arguments):
        pool = new_pool(**arguments)
        pool.scale(workers, workers)
        world.advance()
        for fake in launcher.started:
            fake.load()
        return pool, list(launcher.started)

    return make
