"""The worker's end of the socket, over a socket that is two lists."""

import socket
import struct

import pytest

from tsl.backend import connection as connection_module
from tsl.backend.connection import JOIN_BYTES, MAX_VECTOR, READ_BYTES, Connection
from tsl.protocol.codec import LARGE_FRAME_BYTES, FrameDecoder, encode
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import (
    PROTOCOL_VERSION,
    Cancel,
    Hello,
    Load,
    Loaded,
    Part,
    Ping,
    Pong,
    Predict,
    Reply,
    Result,
    Row,
    Shutdown,
)

HELLO = Hello(PROTOCOL_VERSION, "w1", "secret", 7)
LOAD = Load("m", "/m", "h.py", "", 1, -1, True, 1000, True, "")


class FakeSocket:
    """Gives what was put into it; an exception in the list is raised."""

    def __init__(self):
        self.incoming = []
        self.sent = bytearray()
        self.writes = 0
        self.closed = False
        self.most_per_write = None
        self.waits = []

    def put(self, *frames):
        self.incoming.append(b"".join(b"".join(encode(frame)) for frame in frames))

    def recv(self, size, flags=0):
        if not self.incoming:
            if flags & socket.MSG_DONTWAIT:
                raise BlockingIOError
            raise AssertionError("a real socket would wait for ever")
        item = self.incoming.pop(0)
        if isinstance(item, BaseException):
            raise item
        if flags & socket.MSG_PEEK:
            self.incoming.insert(0, item)
            return item[:size]
        if len(item) > size:
            self.incoming.insert(0, item[size:])
        return item[:size]

    def recvmsg_into(self, buffers, ancillary_size, flags):
        assert len(buffers) <= MAX_VECTOR
        data = self.recv(sum(map(len, buffers)), flags)
        at = 0
        for buffer in buffers:
            piece = data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            at += len(piece)
        return at, [], 0, None

    def setsockopt(self, level, option, value):
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVTIMEO)
        self.waits.append(struct.unpack("@ll", value))

    def sendall(self, data):
        self.writes += 1
        self.sent += data

    def sendmsg(self, buffers):
        assert len(buffers) <= MAX_VECTOR
        self.writes += 1
        data = b"".join(buffers)[: self.most_per_write]
        self.sent += data
        return len(data)

    def close(self):
        self.closed = True

    def frames(self):
        return FrameDecoder().feed(bytes(self.sent))


def predict(batch_id, size=3):
    return Predict(batch_id, [Row("r", [], [], [Part("body", "", b"x" * size)])])


@pytest.fixture
def sock():
    return FakeSocket()


@pytest.fixture
def serving(sock):
    """A connection that has come as far as serving."""
    connection = Connection(sock)
    connection.send(HELLO)
    sock.put(LOAD)
    assert connection.receive() == LOAD
    connection.send(Loaded(1.0))
    sock.sent.clear()
    sock.writes = 0
    return connection


def test_frames_that_arrive_together_are_received_one_by_one(sock, serving):
    sock.put(Ping(1), Ping(2))

    assert [serving.receive(), serving.receive()] == [Ping(1), Ping(2)]


def test_a_frame_that_arrives_in_pieces_is_received_whole(sock, serving):
    data = b"".join(encode(predict(1, size=3 * READ_BYTES)))
    sock.incoming = [data[:5], data[5:100], data[100:]]

    assert serving.receive() == predict(1, size=3 * READ_BYTES)


@pytest.mark.parametrize("end", [b"", ConnectionResetError()], ids=["eof", "reset"])
def test_the_end_of_the_stream_is_received_as_none(sock, serving, end):
    sock.incoming = [end]

    assert serving.receive() is None
    assert serving.receive() is None


def test_a_frame_out_of_place_is_an_error(sock, serving):
    sock.put(LOAD)

    with pytest.raises(ProtocolError, match="Load from FRONT_END"):
        serving.receive()


def test_cancel_overtakes_what_is_queued_before_it(sock, serving):
    sock.put(predict(1), predict(2), Cancel(2, 0))

    assert serving.receive() == predict(1)
    assert serving.has_cancelled
    assert serving.is_cancelled(2, 0)
    assert not serving.is_cancelled(1, 0)


def test_poll_takes_in_what_has_arrived_and_does_not_wait(sock, serving):
    sock.put(predict(1))
    serving.receive()
    sock.put(Cancel(1, 0), Ping(5))

    serving.poll()

    assert serving.is_cancelled(1, 0)
    assert serving.receive() == Ping(5)


def test_poll_that_meets_the_end_cancels_everything_and_tells_later(sock, serving):
    sock.put(Ping(1))
    sock.incoming.append(b"")

    serving.poll()

    assert serving.is_cancelled(1, 0)
    assert serving.receive() == Ping(1)
    assert serving.receive() is None


def test_poll_that_meets_rubbish_leaves_the_error_to_receive(sock, serving):
    sock.incoming = [b"\xff" * 20]

    serving.poll()

    assert serving.has_cancelled
    with pytest.raises(ProtocolError):
        serving.receive()


def test_poll_survives_a_reset(sock, serving):
    sock.incoming = [ConnectionResetError()]

    serving.poll()

    assert serving.receive() is None


def test_poll_leaves_a_reader_alone(sock, serving):
    sock.put(Ping(1))

    with serving._reading:
        serving.poll()

    assert len(sock.incoming) == 1


def test_answered_batches_are_forgotten_and_queued_ones_are_not(sock, serving):
    sock.put(predict(1), predict(2), Cancel(1, 0), Cancel(2, 0))
    serving.receive()

    serving.forget_answered()

    assert not serving.is_cancelled(1, 0)
    assert serving.is_cancelled(2, 0)


def test_cancel_that_crossed_the_answer_is_forgotten(sock, serving):
    sock.put(Cancel(1, 0))
    sock.put(Cancel(1, 1))
    sock.put(Ping(1))

    serving.receive()

    assert not serving.has_cancelled


def test_frames_are_sent_in_one_write_and_in_order(sock, serving):
    answer = Result(1, 5, [Reply(0, "", [], "", b"answer")])

    serving.send(Pong(1), answer)

    assert sock.writes == 1
    assert sock.frames() == [Pong(1), answer]


@pytest.mark.parametrize("most", [None, 1000, JOIN_BYTES + 5], ids=["whole", "bits", "halves"])
def test_a_big_answer_is_sent_whole_however_little_the_socket_takes(sock, serving, most):
    sock.most_per_write = most
    answer = Result(1, 5, [Reply(0, "", [], "", bytes([n]) * JOIN_BYTES) for n in range(3)])

    serving.send(answer)

    assert sock.frames() == [answer]


def test_an_answer_of_many_bodies_respects_the_limit_of_a_vector(sock, serving):
    answer = Result(1, 5, [Reply(0, "", [], "", b"x" * 20) for _ in range(MAX_VECTOR + 1)])

    serving.send(answer)

    assert sock.frames() == [answer]


def test_a_frame_that_must_not_be_sent_is_not(sock, serving):
    with pytest.raises(ProtocolError, match="Hello from WORKER"):
        serving.send(HELLO)

    assert not sock.sent


def test_answers_may_follow_a_shutdown_that_was_read(sock, serving):
    sock.put(predict(1), Shutdown("bye"))
    serving.receive()

    serving.send(Result(1, 0, []))

    assert serving.receive() == Shutdown("bye")


def test_close_closes_the_socket(sock, serving):
    serving.close()

    assert sock.closed


# Idle times.


def test_a_while_without_frames_is_noticed_once(sock, serving):
    calls = []
    serving.call_when_idle(lambda: calls.append("idle"), 2.5)
    sock.incoming.append(BlockingIOError())  # nothing for a while...
    sock.put(Ping(3))  # ...then, after any time, a frame

    assert serving.receive() == Ping(3)

    assert calls == ["idle"]
    assert sock.waits == [(2, 500_000), (0, 0), (2, 500_000)]


def test_the_end_of_the_front_end_is_noticed_in_an_idle_time(sock, serving):
    serving.call_when_idle(lambda: None, 1)
    sock.incoming += [BlockingIOError(), ConnectionResetError(), b""]

    assert serving.receive() is None


# Staying awake.


ROW = Row("r", [], [], [])


class LateSocket(FakeSocket):
    """What is put into it comes after so many looks; a read that would sleep is noted."""

    def __init__(self):
        super().__init__()
        self.looks = 0
        self.late_by = 0
        self.sleeps = 0

    def recv(self, size, flags=0):
        if flags & socket.MSG_DONTWAIT:
            self.looks += 1
            if self.late_by:
                self.late_by -= 1
                raise BlockingIOError
        else:
            self.sleeps += 1
        return super().recv(size, flags)


@pytest.fixture
def sock_of_awake(monkeypatch):
    """A serving connection over a `LateSocket`; each look takes a millisecond, the limit is 10."""
    sock = LateSocket()
    now = iter(range(10_000))
    monkeypatch.setattr(connection_module, "monotonic", lambda: next(now) / 1000)
    connection = Connection(sock)
    connection.send(HELLO)
    sock.put(LOAD)
    connection.receive()
    connection.send(Loaded(1.0))
    connection.poll_busily(0.010)
    sock.sleeps = 0
    return sock, connection


def serve(sock, connection, *rows, late_by=0):
    """Let a batch come; answers how often the connection looked and slept meanwhile."""
    sock.put(Predict(1, list(rows)))
    sock.late_by, sock.looks, sock.sleeps = late_by, 0, 0
    assert connection.receive() == Predict(1, list(rows))
    return sock.looks, sock.sleeps


def test_behind_a_lone_request_the_worker_stays_awake(sock_of_awake):
    assert serve(*sock_of_awake, ROW) == (0, 1)

    assert serve(*sock_of_awake, ROW, late_by=5) == (6, 0)


def test_what_comes_late_is_slept_for(sock_of_awake):
    serve(*sock_of_awake, ROW)

    looks, sleeps = serve(*sock_of_awake, ROW, late_by=50)

    assert 5 < looks < 12
    assert sleeps == 1
    assert serve(*sock_of_awake, ROW) == (0, 1)  # it did not pay, so the next one is not tried


def test_behind_a_batch_the_worker_sleeps(sock_of_awake):
    serve(*sock_of_awake, ROW, ROW)

    assert serve(*sock_of_awake, ROW) == (0, 1)


def test_while_there_is_more_to_do_the_worker_does_not_look(sock_of_awake):
    sock, connection = sock_of_awake
    sock.put(Predict(1, [ROW]), Predict(2, [ROW, ROW]))
    connection.receive()
    connection.receive()

    assert serve(sock, connection, ROW) == (0, 1)


def test_an_end_is_seen_awake(sock_of_awake):
    sock, connection = sock_of_awake
    serve(sock, connection, ROW)
    sock.incoming.append(b"")

    assert connection.receive() is None


def test_a_reset_is_seen_awake(sock_of_awake):
    sock, connection = sock_of_awake
    serve(sock, connection, ROW)
    sock.incoming.append(ConnectionResetError())

    assert connection.receive() is None


# For an event loop.


def test_frames_are_taken_one_by_one_without_waiting(sock, serving):
    sock.put(Ping(1), Ping(2))

    serving.poll()

    assert serving.receive_nowait() == Ping(1)
    assert serving.receive_nowait() == Ping(2)
    assert serving.receive_nowait() is None
    assert not serving.has_ended


def test_the_end_is_known_after_the_last_frame(sock, serving):
    sock.put(Ping(1))
    sock.incoming.append(b"")

    serving.poll()

    assert serving.has_ended
    assert serving.receive_nowait() == Ping(1)
    assert serving.receive_nowait() is None


def test_what_must_not_be_sent_is_raised_after_what_came_before(sock, serving):
    sock.put(Ping(1))
    sock.incoming.append(b"\0" * 16)

    serving.poll()

    assert serving.receive_nowait() == Ping(1)
    with pytest.raises(ProtocolError):
        serving.receive_nowait()


def test_cancelled_rows_of_running_batches_are_remembered(sock, serving):
    sock.put(Cancel(3, 0), Cancel(4, 0))
    serving.poll()

    serving.forget_answered({4: None})

    assert not serving.is_cancelled(3, 0)
    assert serving.is_cancelled(4, 0)


def test_the_body_of_a_large_request_has_memory_of_its_own(serving, sock):
    """So it can be the handler's, without a copy, and may be made longer or shorter."""
    sock.put(predict(1, size=LARGE_FRAME_BYTES))

    (part,) = serving.receive().rows[0].parts

    assert type(part.body) is bytearray
    part.body.extend(b"more")
    assert part.body == b"x" * LARGE_FRAME_BYTES + b"more"


def test_a_poll_takes_what_there_is_of_a_large_request(serving, sock):
    data = b"".join(encode(predict(1, size=LARGE_FRAME_BYTES)))
    sock.incoming += [data[:READ_BYTES], data[READ_BYTES : READ_BYTES + 10]]

    serving.poll()
    assert serving.receive_nowait() is None
    sock.incoming.append(data[READ_BYTES + 10 :])
    serving.poll()

    assert serving.receive_nowait() == predict(1, size=LARGE_FRAME_BYTES)


def test_an_end_in_the_middle_of_a_large_request_is_an_end(serving, sock):
    data = b"".join(encode(predict(1, size=LARGE_FRAME_BYTES)))
    sock.incoming += [data[:READ_BYTES], b""]

    assert serving.receive() is None
    assert serving.has_ended
