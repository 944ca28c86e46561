from __future__ import annotations

import time

import pytest
from fakes import FakeTransport
from h2_client import END, OK, REQUEST, App, parse, raw_frame

from tsl.frontend.http2 import frames
from tsl.frontend.http2.codes import ErrorCode
from tsl.frontend.http2.fields import encode_fields
from tsl.frontend.http2.transport import (
    ANSWER_S,
    HANDSHAKE_S,
    LINGER_S,
    QUIET_S,
    SEEN_S,
    Http2Context,
    Http2Transport,
)
from tsl.frontend.loop_turn import LoopTurn

BLOCK = encode_fields([(name.encode(), value.encode()) for name, value in REQUEST])
HELLO = frames.PREFACE + frames.settings({})
REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Wire:
    """A connection on a fake transport; the time is what the test says."""

    def __init__(self, **context):
        self.app = App()
        self.context = Http2Context(
            serve=lambda transport: self.app,
            refusal=REFUSAL,
            **{"turn": LoopTurn(lambda handle: handle()), **context},
        )
        self.connection, self.transport = self.connect()
        self.now = time.monotonic()

    def connect(self):
        connection = Http2Transport(self.context)
        transport = FakeTransport(connection)
        connection.connection_made(transport)
        return connection, transport

    def hear(self, *data):
        for each in data:
            self.connection.data_received(each)
        return self

    def pass_time(self, seconds):
        self.now += seconds
        self.connection.sweep(self.now)

    def request(self, number=1):
        self.hear(raw_frame(1, 5, number, BLOCK))
        return self.app.requests[-1]

    def answer(self, request, body=b""):
        self.connection.core.sender.respond(request.stream, OK, body, END)

    def frames(self):
        return [kind for kind, *_ in parse(bytes(self.transport.sent))]


def last_goaway(wire):
    payloads = [p for kind, _, _, p in parse(bytes(wire.transport.sent)) if kind == frames.GOAWAY]
    return ErrorCode(int.from_bytes(payloads[-1][4:8], "big"))


def test_what_clients_send_is_looked_at_when_the_loop_has_read_it_all():
    soon = []
    wire = Wire(turn=LoopTurn(soon.append))
    other, _ = wire.connect()
    wire.hear(HELLO)
    other.data_received(HELLO)
    soon.pop()()

    wire.hear(raw_frame(1, 5, 1, BLOCK))
    other.data_received(raw_frame(1, 5, 1, BLOCK))

    assert wire.app.requests == []
    soon.pop()()
    assert len(wire.app.requests) == 2


def test_answers_to_several_calls_of_a_connection_leave_in_one_write():
    wire = Wire().hear(HELLO)
    streams = [wire.request(number) for number in (1, 3, 5)]
    writes = []
    wire.transport.write = writes.append

    wire.context.turn.begin()
    for each in streams:
        wire.answer(each, b"body")
    wire.context.turn.end()

    assert len(writes) == 1
    kinds = [kind for kind, *_ in parse(writes[0])]
    assert kinds == [frames.HEADERS, frames.DATA, frames.HEADERS] * 3


def test_large_data_is_written_at_once_in_its_order():
    wire = Wire().hear(HELLO)
    one, other = wire.request(1), wire.request(3)
    writes = []
    wire.transport.write = writes.append
    size = frames.MAX_FRAME_BYTES

    wire.context.turn.begin()
    wire.answer(one, b"small")
    wire.answer(other, bytes(size))

    assert b"".join(writes).count(b"small") == 1
    assert len(writes[-1]) > size
    wire.context.turn.end()


def test_what_came_before_the_end_of_a_connection_is_looked_at_first():
    wire = Wire(turn=LoopTurn([].append))
    wire.hear(HELLO, raw_frame(1, 5, 1, BLOCK))

    wire.connection.connection_lost(None)

    assert len(wire.app.requests) == 1


def test_settings_are_the_first_words_and_requests_are_answered():
    wire = Wire().hear(HELLO)
    wire.answer(wire.request(), b"body")

    assert wire.frames()[0] == frames.SETTINGS
    assert wire.frames()[-3:] == [frames.HEADERS, frames.DATA, frames.HEADERS]
    assert wire.connection.peer == b"/192.0.2.1:40000"


def test_a_request_in_http_1_is_told_so():
    wire = Wire().hear(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")

    assert bytes(wire.transport.sent).endswith(REFUSAL)
    assert wire.transport.is_eof_written
    wire.hear(b"more")
    wire.pass_time(LINGER_S + 1)
    assert wire.transport.is_aborted


@pytest.mark.parametrize("can_write_eof", [True, False])
def test_a_connection_that_fails_says_why_and_is_closed(can_write_eof):
    wire = Wire()
    wire.transport._can_write_eof = can_write_eof
    wire.hear(b"nonsense that is no preface")

    assert last_goaway(wire) == ErrorCode.PROTOCOL_ERROR
    assert wire.transport.is_eof_written or wire.transport.is_closing()
    wire.connection.connection_lost(None)
    assert not wire.context.connections


def test_a_client_beyond_the_limit_is_turned_away():
    wire = Wire(max_connections=1)
    _, second = wire.connect()

    assert second.is_aborted
    assert len(wire.context.connections) == 1


def test_a_client_that_is_gone_has_its_streams_reset():
    wire = Wire().hear(HELLO)
    request = wire.request()
    wire.transport.end_of_stream()

    assert request.was_reset is not None
    assert not wire.context.connections


def test_nothing_is_read_from_a_client_that_takes_nothing():
    wire = Wire().hear(HELLO, frames.window_update(0, 10**6), frames.settings({4: 10**6}))
    wire.transport.stall()
    request = wire.request()
    wire.answer(request, bytes(500_000))

    assert not wire.transport.is_reading
    assert len(wire.transport.pending) < 200_000
    while not wire.transport.is_reading:
        wire.transport.take(60_000)
    for _ in range(20):
        wire.transport.take(60_000)
    assert sum(wire.frames()[i] == frames.DATA for i in range(len(wire.frames()))) >= 30
    assert not wire.connection.core.streams


# -- time


def test_a_client_that_says_nothing_is_dropped():
    wire = Wire()
    wire.pass_time(HANDSHAKE_S - 1)
    assert not wire.transport.is_aborted
    wire.hear(b"PRI")
    wire.pass_time(2)

    assert wire.transport.is_aborted


def test_a_client_that_is_quiet_is_asked_and_dropped_if_it_does_not_answer():
    wire = Wire().hear(HELLO)
    wire.pass_time(1)
    wire.pass_time(QUIET_S + 1)
    assert wire.frames()[-1] == frames.PING
    wire.hear(frames.ping(b"tsl.ask.", is_ack=True))
    wire.pass_time(ANSWER_S + 1)
    assert not wire.transport.is_aborted

    wire.pass_time(QUIET_S + 1)
    wire.pass_time(ANSWER_S + 1)
    assert wire.transport.is_aborted


def test_a_stream_whose_client_takes_nothing_is_ended_and_others_go_on():
    wire = Wire(write_s=60).hear(HELLO)
    slow = wire.request(1)
    wire.answer(slow, bytes(100_000))
    quick = wire.request(3)
    for _ in range(4):
        wire.pass_time(31)

    assert slow.was_reset == ErrorCode.CANCEL
    assert quick.was_reset is None
    assert not wire.transport.is_aborted


def test_a_stream_that_is_taken_slowly_is_not_ended():
    wire = Wire(write_s=60).hear(HELLO)
    request = wire.request(1)
    wire.answer(request, bytes(100_000))
    for _ in range(10):
        wire.pass_time(31)
        wire.hear(frames.window_update(0, 1000), frames.window_update(1, 1000))

    assert request.was_reset is None


def test_a_connection_whose_client_takes_nothing_at_all_is_dropped():
    wire = Wire(write_s=60).hear(HELLO, frames.window_update(0, 10**6), frames.settings({4: 10**6}))
    wire.transport.stall()
    wire.answer(wire.request(), bytes(500_000))
    for _ in range(5):
        wire.pass_time(31)

    assert wire.transport.is_aborted


def test_an_old_connection_is_left_in_peace_until_its_calls_have_ended():
    wire = Wire(max_age_s=100, max_age_grace_s=1000).hear(HELLO)
    request = wire.request()
    wire.pass_time(120)
    assert wire.frames()[-2:] == [frames.GOAWAY, frames.PING]
    wire.pass_time(SEEN_S + 1)  # the client does not answer the PING
    assert wire.frames()[-1] == frames.GOAWAY
    assert last_goaway(wire) == ErrorCode.NO_ERROR
    assert not wire.transport.is_eof_written

    wire.answer(request)

    assert wire.transport.is_eof_written


def test_the_grace_of_an_old_connection_is_limited():
    wire = Wire(max_age_s=100, max_age_grace_s=5).hear(HELLO)
    request = wire.request()
    wire.pass_time(120)
    wire.pass_time(6)

    assert wire.transport.is_aborted
    assert request.was_reset is not None


def test_leaving_closes_an_idle_connection_as_soon_as_the_client_has_seen_it():
    wire = Wire().hear(HELLO)
    wire.connection.leave(10)
    assert not wire.transport.is_eof_written

    wire.hear(frames.ping(b"tsl.bye.", is_ack=True))

    assert wire.transport.is_eof_written
