from __future__ import annotations

import h2.events
import h2.settings
import pytest
from h2_client import END, OK, REQUEST, Play, parse, raw_frame
from hpack import Encoder

from tsl.frontend.http2 import frames
from tsl.frontend.http2.codes import ErrorCode
from tsl.frontend.http2.connection import FORGOTTEN_STREAMS, RESETS
from tsl.frontend.http2.control import CONTROL_FRAMES
from tsl.frontend.http2.fields import encode_fields
from tsl.frontend.http2.receiving import CONNECTION_WINDOW

BLOCK = encode_fields([(name.encode(), value.encode()) for name, value in REQUEST])
HEADERS = raw_frame(1, 0x4, 1, BLOCK)
"""A request that has not ended."""
WHOLE = raw_frame(1, 0x5, 1, BLOCK)
"""A request without data."""


def begun(**limits):
    """A connection whose first words have been said."""
    play = Play(start=False, **limits)
    play.feed(frames.PREFACE, frames.settings({}))
    return play


def goaway_of(play):
    codes = [ErrorCode(int.from_bytes(p[4:8], "big")) for k, _, _, p in play.replies if k == 7]
    return codes[0] if codes else None


def resets_of(play):
    return [(s, ErrorCode(int.from_bytes(p, "big"))) for k, _, s, p in play.replies if k == 3]


# -- requests and answers --------------------------------------------------------------------------


def test_a_request_and_its_answer():
    play = Play()

    number = play.request(b"hello", fields=[("te", "trailers")])
    (request,) = play.app.requests
    play.answer(request, b"world")

    assert (request.head.method, request.head.path) == (b"POST", b"/p")
    assert (request.body, request.is_complete) == (b"hello", True)
    assert play.body(number) == b"world"
    (head,), (end,) = (
        play.of(h2.events.ResponseReceived),
        play.of(h2.events.TrailersReceived),
    )
    assert dict(head.headers) == {b":status": b"200", b"x": b"y"}
    assert dict(end.headers) == {b"grpc-status": b"0"}
    assert play.has_ended(number)
    assert not play.core.streams


def test_an_answer_for_which_there_is_room_is_one_write():
    play = Play()
    play.request()
    writes = []
    play.core.sender.write = writes.append

    play.core.sender.respond(play.app.requests[0].stream, OK, b"body", END)

    assert [kind for kind, *_ in parse(writes[0])] == [frames.HEADERS, frames.DATA, frames.HEADERS]
    assert len(writes) == 1


def test_a_request_without_data_is_complete_at_once():
    play = Play()
    play.request()

    assert play.app.requests[0].is_complete


def test_trailers_of_a_request_end_it():
    play = Play()
    number = play.request(b"x", ends=False)

    play.client.send_headers(number, [("a", "b")], end_stream=True)
    play.exchange()

    assert play.app.requests[0].is_complete


def test_an_answer_before_the_request_is_complete_asks_the_client_to_stop():
    play = Play()
    number = play.request(b"x", ends=False)
    play.answer(play.app.requests[0], b"enough")

    assert play.body(number) == b"enough"
    (reset,) = play.of(h2.events.StreamReset)
    assert reset.error_code == ErrorCode.NO_ERROR
    # what the client has sent meanwhile is of no interest, and no fault
    play.feed(raw_frame(0, 0, number, b"late"), raw_frame(1, 0x5, number, BLOCK))
    assert play.replies == []
    assert not play.core.is_failed


def test_padding_and_priorities_are_taken_off():
    play = begun()

    play.feed(
        raw_frame(1, 0x4 | 0x8 | 0x20, 1, b"\x03" + b"\0\0\0\0\x10" + BLOCK + b"\0\0\0"),
        raw_frame(0, 0x8 | 0x1, 1, b"\x02" + b"data" + b"\0\0"),
        raw_frame(2, 0, 3, b"\0\0\0\0\x10"),
    )

    assert play.app.requests[0].body == b"data"
    assert play.replies == []


def test_a_header_block_may_come_in_pieces():
    play = begun()

    play.feed(
        raw_frame(1, 0x1, 1, BLOCK[:5]),
        raw_frame(9, 0, 1, BLOCK[5:9]),
        raw_frame(9, 4, 1, BLOCK[9:]),
    )

    assert play.app.requests[0].is_complete


def test_unknown_frames_settings_and_flags_are_ignored():
    play = begun()

    play.feed(raw_frame(0x55, 0xFF, 7, b"???"), frames.settings({0x99: 7}), WHOLE)

    assert [(kind, flags) for kind, flags, *_ in play.replies] == [(frames.SETTINGS, frames.ACK)]
    assert len(play.app.requests) == 1


def test_equal_requests_are_understood_once():
    play = Play()
    for _ in range(5):
        play.request(b"x")

    assert len(play.app.requests) == 5
    assert play.app.heads <= 2  # the first fills the table, the second is all references


def test_a_block_has_another_meaning_when_the_table_has_changed():
    play = begun()
    encoder = Encoder()
    encoder.huffman = False

    def headers(number, path):
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path)]
        return raw_frame(1, 5, number, encoder.encode(fields))

    play.feed(*(headers(2 * n + 1, path) for n, path in enumerate("aabbaabcc")))

    assert b"".join(r.head.path for r in play.app.requests) == b"aabbaabcc"


# -- windows ----------------------------------------------------------------------------------------


def test_an_answer_larger_than_the_window_waits_for_the_client():
    play = Play()
    number = play.request()
    body = bytes(range(256)) * 1000  # four windows

    play.answer(play.app.requests[0], body)
    assert len(play.body(number)) == frames.DEFAULT_WINDOW
    for _ in range(10):
        play.take(number)

    assert play.body(number) == body
    assert play.has_ended(number)
    assert play.core.sender.waiting_bytes == 0


def test_streams_take_turns_while_they_wait_for_the_connection():
    play = Play()
    play.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10**6})
    play.exchange()
    numbers = [play.request() for _ in range(3)]
    for request in play.app.requests:
        play.answer(request, bytes(100_000))
    before = [len(play.body(number)) for number in numbers]

    play.client.increment_flow_control_window(3 * frames.MAX_FRAME_BYTES)
    play.exchange()

    after = [len(play.body(number)) for number in numbers]
    assert [b - a for a, b in zip(before, after, strict=True)] == [frames.MAX_FRAME_BYTES] * 3
    play.client.increment_flow_control_window(10**6)
    play.exchange()
    assert all(map(play.has_ended, numbers))


def test_a_stream_without_a_window_of_its_own_does_not_hold_up_others():
    play = Play()
    numbers = [play.request() for _ in range(2)]
    for request in play.app.requests:
        play.answer(request, bytes(100_000))
    play.client.increment_flow_control_window(10**6)
    play.exchange()

    play.client.increment_flow_control_window(10**6, numbers[1])
    play.exchange()

    assert play.has_ended(numbers[1])
    assert len(play.body(numbers[0])) == frames.DEFAULT_WINDOW


def test_windows_that_the_client_narrows_and_widens_count_for_open_streams():
    play = Play()
    number = play.request()
    play.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
    play.exchange()

    play.answer(play.app.requests[0], bytes(100))
    assert len(play.body(number)) == 10
    play.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 60})
    play.exchange()
    assert len(play.body(number)) == 60
    play.client.increment_flow_control_window(100, number)
    play.exchange()

    assert play.has_ended(number)


def test_a_producer_is_told_when_its_data_has_left():
    play = Play()
    number = play.request()
    (request,) = play.app.requests
    sender = play.core.sender
    sender.headers(request.stream, OK)
    sender.data(request.stream, bytes(150_000))
    assert request.stream.pending_bytes == 150_000 - frames.DEFAULT_WINDOW

    play.exchange()
    while not request.drains:
        play.take(number)
    sender.data(request.stream, b"more")
    sender.end(request.stream, END)
    for _ in range(5):
        play.take(number)

    assert len(play.body(number)) == 150_004
    assert play.has_ended(number)


def test_nothing_but_control_is_sent_while_the_transport_is_behind():
    play = Play()
    number = play.request()
    play.core.sender.is_writable = False
    play.answer(play.app.requests[0], b"later")
    assert play.body(number) == b""

    play.core.sender.is_writable = True
    play.core.sender.go_on()
    play.exchange()

    assert play.body(number) == b"later"
    assert play.has_ended(number)


def test_a_large_message_is_granted_at_once():
    play = Play(window_bytes=65_535)
    number = play.request(b"x" * 1000, ends=False)
    (request,) = play.app.requests

    play.core.windows.want(request.stream, 900_000)
    play.exchange()

    assert play.client.local_flow_control_window(number) == 900_000
    play.core.windows.want(request.stream, 900_000)
    assert not play.sent, "once is enough"


def test_large_messages_wait_for_their_turn_when_there_are_too_many():
    play = Play(window_bytes=65_535, reserve_bytes=1_000_000)
    numbers = [play.request(b"x", ends=False) for _ in range(3)]
    streams = [request.stream for request in play.app.requests]
    for stream in streams:
        play.core.windows.want(stream, 800_000)
    play.exchange()
    windows = [play.client.local_flow_control_window(number) for number in numbers]
    assert windows == [800_000, 65_534, 65_534]

    play.client.reset_stream(numbers[0])
    play.exchange()
    assert play.client.local_flow_control_window(numbers[1]) == 800_000
    play.core.windows.release(streams[1])
    play.exchange()

    assert play.client.local_flow_control_window(numbers[2]) == 800_000


def test_the_connection_s_window_is_opened_again_and_again():
    play = begun(window_bytes=2**30)
    play.feed(HEADERS)
    data = raw_frame(0, 0, 1, bytes(16_384))
    left = CONNECTION_WINDOW
    for _ in range(1200):  # more than the window
        left -= 16_384
        assert left >= 0
        left += sum(int.from_bytes(p, "big") for k, _, s, p in play.feed(data) if (k, s) == (8, 0))
        play.app.requests[0].body = b""

    assert not play.core.is_failed


# -- what ends -----------------------------------------------------------------------------------------


def test_a_client_that_leaves_a_stream_is_noticed():
    play = Play()
    number = play.request(b"x")
    (request,) = play.app.requests
    play.answer(request, bytes(100_000))

    play.client.reset_stream(number, ErrorCode.CANCEL)
    play.exchange()

    assert request.was_reset == ErrorCode.CANCEL
    assert not play.core.streams
    assert play.core.sender.waiting_bytes == 0


def test_a_connection_that_is_lost_resets_all_its_streams():
    play = Play()
    play.request(b"x")
    play.request(b"x", ends=False)

    play.core.lost()

    assert [request.was_reset for request in play.app.requests] == [ErrorCode.CANCEL] * 2


def test_leaving_lets_requests_that_are_on_their_way_in():
    play = begun()
    play.feed(WHOLE)
    idle = []
    play.core.idle = lambda: idle.append(len(play.core.streams))

    play.core.leave()
    (first, ping) = play.feed()
    assert (first[0], first[3][:4]) == (frames.GOAWAY, b"\x7f\xff\xff\xff")
    play.feed(raw_frame(1, 0x5, 3, BLOCK))
    assert len(play.app.requests) == 2
    play.feed(raw_frame(frames.PING, 1, 0, ping[3]))
    (last,) = play.replies
    assert (last[0], last[3][:4]) == (frames.GOAWAY, b"\0\0\0\3")
    play.feed(raw_frame(1, 0x5, 5, BLOCK))
    assert resets_of(play) == [(5, ErrorCode.REFUSED_STREAM)]
    assert idle == []
    for request in play.app.requests:
        play.core.sender.respond(request.stream, OK, b"", END)

    assert idle == [0]


# -- faults ----------------------------------------------------------------------------------------------

FAULTS = {
    "no preface": ("PROTOCOL_ERROR", b"x" * 24),
    "no settings first": ("PROTOCOL_ERROR", frames.PREFACE + frames.ping(bytes(8), is_ack=False)),
    "an acknowledgement first": ("PROTOCOL_ERROR", frames.PREFACE + frames.SETTINGS_ACK),
}
FAULTS_LATER = {
    "frame too large": ("FRAME_SIZE_ERROR", raw_frame(0, 0, 1, bytes(16_385))),
    "DATA on stream 0": ("PROTOCOL_ERROR", raw_frame(0, 0, 0, b"x")),
    "DATA on an idle stream": ("PROTOCOL_ERROR", raw_frame(0, 0, 1, b"x")),
    "DATA, too much padding": ("PROTOCOL_ERROR", HEADERS + raw_frame(0, 8, 1, b"\x01")),
    "DATA, no padding length": ("FRAME_SIZE_ERROR", HEADERS + raw_frame(0, 8, 1, b"")),
    "HEADERS on stream 0": ("PROTOCOL_ERROR", raw_frame(1, 5, 0, BLOCK)),
    "HEADERS on an even stream": ("PROTOCOL_ERROR", raw_frame(1, 5, 2, BLOCK)),
    "HEADERS on an old stream": ("PROTOCOL_ERROR", raw_frame(1, 5, 5, BLOCK) + WHOLE),
    "HEADERS, too much padding": ("PROTOCOL_ERROR", raw_frame(1, 0xD, 1, b"\xff" + BLOCK)),
    "HEADERS, no room for priority": ("FRAME_SIZE_ERROR", raw_frame(1, 0x25, 1, b"abc")),
    "HEADERS, no HPACK": ("COMPRESSION_ERROR", raw_frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff")),
    "HEADERS, unknown index": ("COMPRESSION_ERROR", raw_frame(1, 5, 1, b"\xfe")),
    "HEADERS, table too large": ("COMPRESSION_ERROR", raw_frame(1, 5, 1, b"\x3f\xe2\x1f" + BLOCK)),
    "PRIORITY on stream 0": ("PROTOCOL_ERROR", raw_frame(2, 0, 0, bytes(5))),
    "PRIORITY too short": ("FRAME_SIZE_ERROR", raw_frame(2, 0, 1, bytes(4))),
    "RST_STREAM on stream 0": ("PROTOCOL_ERROR", raw_frame(3, 0, 0, bytes(4))),
    "RST_STREAM on an idle stream": ("PROTOCOL_ERROR", raw_frame(3, 0, 1, bytes(4))),
    "RST_STREAM too short": ("FRAME_SIZE_ERROR", HEADERS + raw_frame(3, 0, 1, bytes(3))),
    "SETTINGS on a stream": ("PROTOCOL_ERROR", raw_frame(4, 0, 1, b"")),
    "SETTINGS of odd size": ("FRAME_SIZE_ERROR", raw_frame(4, 0, 0, bytes(5))),
    "SETTINGS, full acknowledgement": ("FRAME_SIZE_ERROR", raw_frame(4, 1, 0, bytes(6))),
    "SETTINGS, push": ("PROTOCOL_ERROR", frames.settings({2: 2})),
    "SETTINGS, window": ("FLOW_CONTROL_ERROR", frames.settings({4: 2**31})),
    "SETTINGS, small frames": ("PROTOCOL_ERROR", frames.settings({5: 16_383})),
    "SETTINGS, huge frames": ("PROTOCOL_ERROR", frames.settings({5: 2**24})),
    "SETTINGS that widen too far": (
        "FLOW_CONTROL_ERROR",
        HEADERS + frames.window_update(1, 2**31 - 1 - 65_535) + frames.settings({4: 65_536}),
    ),
    "PUSH_PROMISE": ("PROTOCOL_ERROR", raw_frame(5, 4, 1, bytes(4) + BLOCK)),
    "PING on a stream": ("PROTOCOL_ERROR", raw_frame(6, 0, 1, bytes(8))),
    "PING of another size": ("FRAME_SIZE_ERROR", raw_frame(6, 0, 0, bytes(6))),
    "GOAWAY on a stream": ("PROTOCOL_ERROR", raw_frame(7, 0, 1, bytes(8))),
    "GOAWAY too short": ("FRAME_SIZE_ERROR", raw_frame(7, 0, 0, bytes(7))),
    "WINDOW_UPDATE of another size": ("FRAME_SIZE_ERROR", raw_frame(8, 0, 0, bytes(3))),
    "WINDOW_UPDATE by nothing": ("PROTOCOL_ERROR", frames.window_update(0, 0)),
    "WINDOW_UPDATE too far": ("FLOW_CONTROL_ERROR", frames.window_update(0, 2**31 - 1)),
    "WINDOW_UPDATE on an idle stream": ("PROTOCOL_ERROR", frames.window_update(1, 1)),
    "CONTINUATION alone": ("PROTOCOL_ERROR", raw_frame(9, 4, 1, BLOCK)),
    "CONTINUATION behind the end": ("PROTOCOL_ERROR", WHOLE + raw_frame(9, 4, 1, BLOCK)),
    "CONTINUATION of another stream": (
        "PROTOCOL_ERROR",
        raw_frame(1, 1, 1, BLOCK) + raw_frame(9, 4, 3, b""),
    ),
    "another frame in a header block": (
        "PROTOCOL_ERROR",
        raw_frame(1, 1, 1, BLOCK) + frames.ping(bytes(8), is_ack=False),
    ),
    "an unknown frame in a header block": (
        "PROTOCOL_ERROR",
        raw_frame(1, 1, 1, BLOCK) + raw_frame(0x77, 0, 0, b""),
    ),
}


@pytest.mark.parametrize(("code", "data"), FAULTS.values(), ids=FAULTS)
def test_a_connection_that_begins_wrongly_ends(code, data):
    play = Play(start=False)
    play.feed(data)

    assert goaway_of(play) == ErrorCode[code]
    assert play.core.is_failed


@pytest.mark.parametrize(("code", "data"), FAULTS_LATER.values(), ids=FAULTS_LATER)
def test_a_fault_of_the_connection_ends_it_and_says_why(code, data):
    play = begun()
    play.feed(data, WHOLE)

    assert goaway_of(play) == ErrorCode[code]
    assert play.core.is_failed
    assert not play.core.streams
    assert not any(request.was_reset is None for request in play.app.requests)
    assert play.feed(WHOLE) == []


def fields(*more, without=()):
    made = [(name.encode(), value.encode()) for name, value in REQUEST if name not in without]
    return raw_frame(1, 0x5, 1, encode_fields([*made, *more]))


STREAM_FAULTS = {
    "DATA behind the end": ("STREAM_CLOSED", WHOLE + raw_frame(0, 0, 1, b"x")),
    "HEADERS behind the end": ("STREAM_CLOSED", WHOLE + WHOLE),
    "trailers that do not end": ("PROTOCOL_ERROR", HEADERS + HEADERS),
    "pseudo fields in trailers": ("PROTOCOL_ERROR", HEADERS + WHOLE),
    "WINDOW_UPDATE by nothing": ("PROTOCOL_ERROR", HEADERS + frames.window_update(1, 0)),
    "WINDOW_UPDATE too far": ("FLOW_CONTROL_ERROR", HEADERS + frames.window_update(1, 2**31 - 1)),
    "a name in upper case": ("PROTOCOL_ERROR", fields((b"Name", b"x"))),
    "a name with a space": ("PROTOCOL_ERROR", fields((b"na me", b"x"))),
    "an empty name": ("PROTOCOL_ERROR", fields((b"", b"x"))),
    "a line break in a value": ("PROTOCOL_ERROR", fields((b"name", b"x\ny"))),
    "a space before a value": ("PROTOCOL_ERROR", fields((b"name", b" x"))),
    "a field of HTTP/1.1": ("PROTOCOL_ERROR", fields((b"connection", b"close"))),
    "another te": ("PROTOCOL_ERROR", fields((b"te", b"gzip"))),
    "no method": ("PROTOCOL_ERROR", fields(without=[":method"])),
    "no scheme": ("PROTOCOL_ERROR", fields(without=[":scheme"])),
    "no path": ("PROTOCOL_ERROR", fields(without=[":path"])),
    "an empty path": ("PROTOCOL_ERROR", fields((b":path", b""), without=[":path"])),
    "two methods": ("PROTOCOL_ERROR", fields((b":method", b"POST"))),
    "an unknown pseudo field": ("PROTOCOL_ERROR", fields((b":x", b"y"))),
    "a field of answers": ("PROTOCOL_ERROR", fields((b":status", b"200"))),
    "a pseudo field behind others": (
        "PROTOCOL_ERROR",
        fields((b"x", b"y"), (b":path", b"/"), without=[":path"]),
    ),
    "a length that is none": ("PROTOCOL_ERROR", fields((b"content-length", b"x"))),
    "two lengths": (
        "PROTOCOL_ERROR",
        fields((b"content-length", b"1"), (b"content-length", b"2")),
    ),
    "less than the length says": ("PROTOCOL_ERROR", fields((b"content-length", b"1"))),
}


@pytest.mark.parametrize(("code", "data"), STREAM_FAULTS.values(), ids=STREAM_FAULTS)
def test_a_fault_of_a_stream_ends_that_stream_only(code, data):
    play = begun()
    play.feed(data)

    assert resets_of(play) == [(1, ErrorCode[code])]
    assert goaway_of(play) is None
    assert all(r.was_reset is not None for r in play.app.requests)
    play.feed(raw_frame(1, 5, 3, BLOCK))
    assert play.app.requests[-1].is_complete


@pytest.mark.parametrize(("sizes", "ends"), [([4, 2], True), ([3], True), ([6], False)])
def test_data_that_is_not_what_its_length_says(sizes, ends):
    play = begun()
    block = BLOCK + encode_fields([(b"content-length", b"5")])
    data = [
        raw_frame(0, int(ends and n == len(sizes) - 1), 1, bytes(size))
        for n, size in enumerate(sizes)
    ]
    play.feed(raw_frame(1, 4, 1, block), *data)

    assert resets_of(play) == [(1, ErrorCode.PROTOCOL_ERROR)]


def test_a_stream_that_sends_more_than_its_window_ends():
    play = begun(window_bytes=20_000)
    play.feed(HEADERS, raw_frame(0, 0, 1, bytes(16_000)), raw_frame(0, 0, 1, bytes(4_001)))

    assert resets_of(play) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]


def test_data_of_a_stream_that_was_ended_long_ago_is_refused():
    play = begun()
    play.feed(WHOLE)
    play.core.sender.respond(play.app.requests[0].stream, OK, b"", END)
    play.feed()

    play.feed(raw_frame(0, 0, 1, b"x"))

    assert resets_of(play) == [(1, ErrorCode.STREAM_CLOSED)]


# -- limits ------------------------------------------------------------------------------------------------


def test_more_streams_than_are_allowed_are_refused():
    play = begun(streams=2)
    play.feed(*(raw_frame(1, 5, n, BLOCK) for n in (1, 3, 5)))

    assert resets_of(play) == [(5, ErrorCode.REFUSED_STREAM)]
    assert len(play.app.requests) == 2


def test_a_client_that_does_not_take_its_answers_gets_no_new_streams():
    play = begun(waiting_bytes=50_000)
    play.feed(WHOLE)
    play.core.sender.respond(play.app.requests[0].stream, OK, bytes(200_000), END)
    play.feed(raw_frame(1, 5, 3, BLOCK))

    assert resets_of(play) == [(3, ErrorCode.REFUSED_STREAM)]


def flood(play, frame, count):
    for _ in range(count // 100 + 1):
        play.feed(frame * 100)
        if play.core.is_failed:
            break
    return goaway_of(play)


@pytest.mark.parametrize(
    "frame",
    [
        frames.ping(bytes(8), is_ack=False),
        frames.ping(bytes(8), is_ack=True),
        frames.settings({}),
        frames.settings({4: 100}) + frames.settings({4: 200}),
        frames.SETTINGS_ACK,
        raw_frame(2, 0, 1, bytes(5)),
        raw_frame(0, 0, 1, b""),
        raw_frame(0, 8, 1, b"\x00"),
        raw_frame(7, 0, 0, bytes(8)),
        raw_frame(0x99, 0, 0, b""),
    ],
    ids=[
        "PING",
        "PING ACK",
        "SETTINGS",
        "windows",
        "ACK",
        "PRIORITY",
        "DATA",
        "padding",
        "GOAWAY",
        "?",
    ],
)
def test_frames_without_content_are_limited(frame):
    play = begun()
    play.feed(HEADERS)

    assert flood(play, frame, int(CONTROL_FRAMES[0])) == ErrorCode.ENHANCE_YOUR_CALM


def test_frames_without_content_may_come_now_and_then():
    play = Play(start=False)
    now = [0.0]
    play = Play(clock=lambda: now[0], start=False)
    play.feed(frames.PREFACE, frames.settings({}))
    for _ in range(300):
        now[0] += 0.1
        play.feed(frames.ping(bytes(8), is_ack=False) * 90)

    assert not play.core.is_failed


def test_streams_that_are_opened_and_reset_are_limited():
    """Rapid reset: CVE-2023-44487."""
    play = begun()
    most = int(RESETS[0])
    for n in range(most + 10):
        number = 2 * n + 1
        play.feed(raw_frame(1, 5, number, BLOCK) + raw_frame(3, 0, number, bytes(4)))
        if play.core.is_failed:
            break

    assert goaway_of(play) == ErrorCode.ENHANCE_YOUR_CALM
    assert most - 1 <= n <= most + 1


def test_streams_that_the_client_makes_this_side_reset_are_limited_too():
    """CVE-2025-8671."""
    play = begun()
    for n in range(int(RESETS[0]) + 10):
        number = 2 * n + 1
        play.feed(raw_frame(1, 5, number, BLOCK) + frames.window_update(number, 0))
        if play.core.is_failed:
            break

    assert goaway_of(play) == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("piece", [b"", b"\0" + b"\x01a\x7f\x80\x7f" + bytes(16_000)])
def test_continuation_frames_without_end_are_limited(piece):
    """CVE-2024-27316 and its kind."""
    play = begun()
    play.feed(raw_frame(1, 1, 1, BLOCK))
    for _ in range(20):
        play.feed(raw_frame(9, 0, 1, piece))
        if play.core.is_failed:
            break

    assert goaway_of(play) == ErrorCode.ENHANCE_YOUR_CALM


def test_a_block_that_unfolds_to_a_mountain_is_not_unfolded():
    play = begun()
    big = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000  # put into the table
    play.feed(raw_frame(1, 5, 1, BLOCK + big))
    assert play.app.requests

    play.feed(raw_frame(1, 5, 3, BLOCK + b"\xbe" * 16_000))

    assert goaway_of(play) == ErrorCode.COMPRESSION_ERROR


def test_what_is_remembered_of_ended_streams_is_bounded():
    play = begun()
    for n in range(FORGOTTEN_STREAMS + 50):
        play.feed(raw_frame(1, 4, 2 * n + 1, BLOCK))
        play.core.sender.respond(play.app.requests[-1].stream, OK, b"", END)

    assert len(play.core._ended_early) == FORGOTTEN_STREAMS
