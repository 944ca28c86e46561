"""Many calls in one event loop; the front end is the other end of a socket pair."""

import asyncio
import socket
import threading

import pytest

from tsl.backend.async_server import AsyncServer, make_loop
from tsl.backend.connection import Connection
from tsl.backend.metrics import MetricsCache
from tsl.backend.service import Service
from tsl.backend.streaming import send_intermediate_predict_response
from tsl.protocol.channel import ChannelState
from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import (
    Cancel,
    Chunk,
    Failure,
    Load,
    Part,
    Ping,
    Pong,
    Predict,
    Result,
    Row,
    Shutdown,
)

WAIT_S = 20


class FrontEnd:
    """Serves a handler in a thread, and plays the front end."""

    def __init__(self, handler):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(WAIT_S)
        self.decoder = FrameDecoder()
        self.frames = []
        self.error = None
        connection = Connection(theirs)
        connection._channel.state = ChannelState.SERVING
        service = Service("m", "/m", None, handler, None, 1, True, MetricsCache("", "m", None))
        server = AsyncServer(connection, service, connection.send, 1000)

        def serve():
            loop = make_loop()
            try:
                server.serve(loop)
            except BaseException as error:
                self.error = error
            finally:
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                loop.run_until_complete(asyncio.sleep(0))
                loop.close()
                connection.close()

        self.thread = threading.Thread(target=serve)
        self.thread.start()

    def send(self, *frames):
        for frame in frames:
            self.sock.sendall(b"".join(encode(frame)))

    def receive(self):
        """The next frame from the worker; None at the end."""
        while not self.frames:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.frames += self.decoder.feed(data)
        return self.frames.pop(0)

    def join(self):
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()

    def close(self):
        self.sock.close()
        self.join()


@pytest.fixture
def front_end():
    """Makes front ends for handlers."""
    made = []

    def make(handler):
        made.append(FrontEnd(handler))
        return made[-1]

    yield make
    for each in made:
        each.close()


def predict(number, body=b""):
    return Predict(number, [Row(f"r{number}", [], [], [Part("body", "text/plain", body)])])


def body_of(result):
    assert isinstance(result, Result)
    return bytes(result.replies[0].body)


class Gates:
    """A handler whose calls wait until a call with the name of their gate comes."""

    def __init__(self):
        self.gates = {}
        self.cancelled = []

    async def __call__(self, data, context):
        name = data[0]["body"]
        if name == "hello":
            return ["those before have begun"]
        if name.startswith("open "):
            self.gates[name[5:]].set()
            return ["opened"]
        gate = self.gates[name] = asyncio.Event()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        return [context.get_request_id()]


def test_calls_overlap_and_are_answered_as_they_end(front_end):
    end = front_end(Gates())

    end.send(predict(1, b"a"), predict(2, b"b"), predict(3, b"open b"))
    third, second = end.receive(), end.receive()
    end.send(predict(4, b"open a"))
    fourth, first = end.receive(), end.receive()

    assert [each.batch_id for each in (third, second, fourth, first)] == [3, 2, 4, 1]
    assert body_of(first) == b"r1"
    assert body_of(second) == b"r2"


def test_a_call_that_raises_fails_alone(front_end, capsys):
    async def handle(data, context):
        if data[0]["body"] == "bad":
            raise ValueError("no")
        return ["fine"]

    end = front_end(handle)
    end.send(predict(1, b"bad"), predict(2))

    assert end.receive() == Failure(1, "handler_failed", "", 0)
    assert body_of(end.receive()) == b"fine"
    assert "ValueError: no" in capsys.readouterr().err


def test_a_plain_function_works_too(front_end):
    end = front_end(lambda data, context: [data[0]["body"].upper()])

    end.send(predict(1, b"x"))

    assert body_of(end.receive()) == b"X"


def test_chunks_go_to_their_own_call(front_end):
    async def handle(data, context):
        for piece in "ab":
            send_intermediate_predict_response([piece], context.request_ids, "", 200, context)
            await asyncio.sleep(0)
        return ["end"]

    end = front_end(handle)
    end.send(predict(1), predict(2))
    frames = [end.receive() for _ in range(6)]

    for number in (1, 2):
        mine = [frame for frame in frames if frame.batch_id == number]
        assert [type(frame) for frame in mine] == [Chunk, Chunk, Result]
        assert [bytes(frame.body) for frame in mine[:2]] == [b"a", b"b"]


def test_a_call_nobody_waits_for_is_cancelled_and_given_back(front_end):
    gates = Gates()
    end = front_end(gates)
    end.send(predict(1, b"a"), predict(2, b"b"), predict(7, b"hello"))
    assert end.receive().batch_id == 7

    end.send(Cancel(1, 0), Cancel(9, 0))

    assert end.receive() == Failure(1, "job_cancelled", "", 0)
    assert gates.cancelled == ["a"]
    end.send(predict(3, b"open b"))
    assert end.receive().batch_id == 3
    assert body_of(end.receive()) == b"r2"


def test_a_call_cancelled_before_it_begins_is_given_back(front_end):
    gates = Gates()
    end = front_end(gates)

    end.send(predict(1, b"a"), Cancel(1, 0))

    assert end.receive() == Failure(1, "job_cancelled", "", 0)


def test_a_handler_that_cancels_itself_is_a_failure(front_end, capsys):
    async def handle(data, context):
        raise asyncio.CancelledError

    end = front_end(handle)
    end.send(predict(1))

    assert end.receive() == Failure(1, "handler_failed", "", 0)
    assert "cancelled the call for request r1" in capsys.readouterr().err


def test_it_shows_that_it_lives(front_end):
    end = front_end(Gates())

    end.send(predict(1, b"a"), Ping(7))

    assert end.receive() == Pong(7)


def test_it_stops_when_the_calls_that_run_have_ended(front_end):
    end = front_end(Gates())
    end.send(predict(1, b"a"), predict(2, b"open a"))

    end.send(Shutdown("bye"))

    assert {end.receive().batch_id, end.receive().batch_id} == {1, 2}
    assert end.receive() is None
    assert end.error is None


def test_an_idle_worker_stops_at_once(front_end):
    end = front_end(Gates())

    end.send(Shutdown("bye"))

    assert end.receive() is None
    end.join()
    assert end.error is None


def test_without_a_front_end_all_calls_are_cancelled(front_end):
    gates = Gates()
    end = front_end(gates)
    end.send(predict(1, b"a"), predict(7, b"hello"))
    end.receive()

    end.close()

    assert gates.cancelled == ["a"]


def test_a_frame_that_does_not_belong_here_ends_it(front_end):
    end = front_end(Gates())

    end.send(Load("m", "/m", "h", "", 1, -1, True, 1, True, ""))
    end.join()

    assert isinstance(end.error, ProtocolError)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_of_the_handler_ends_the_worker(front_end, kind):
    async def handle(data, context):
        raise kind

    end = front_end(handle)
    end.send(predict(1))
    end.join()

    assert isinstance(end.error, kind)


def test_loading_may_use_the_loop_and_leave_another_one_behind():
    loop = make_loop()
    try:
        assert loop.run_until_complete(asyncio.sleep(0, "ran")) == "ran"
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()
