from __future__ import annotations

import json
import socket
import struct

import pytest
from fakes import HIGH_WATER, FakeTransport
from http_client import HttpPlay, request

from tsl.frontend.http_api.exchange import JOIN_BELOW_BYTES
from tsl.protocol.errors import (
    DeadlineExceeded,
    HandlerFailed,
    InternalError,
    PredictionError,
    QueueFull,
    WorkerDied,
)

SSE = ("Accept", "text/event-stream")
SERVERS_HEADERS = [
    "x-request-id",
    "pragma",
    "cache-control",
    "expires",
    "date",
    "content-length",
    "connection",
]
CORS = (
    ("access-control-allow-origin", "https://a.example"),
    ("access-control-allow-methods", "GET"),
    ("access-control-allow-headers", ""),
)


def later(play=None, *, method="GET", headers=(), version="1.1"):
    """A play with one job under way."""
    play = play or HttpPlay()
    return play.feed(request("/later", method, headers=headers, version=version))


def names(response):
    return [name.decode() for name, _ in response.headers]


# -- plain and dressed answers ---------------------------------------------------------------------


def test_a_plain_answer_has_the_servers_headers_and_no_content_type():
    play = later()

    play.answer(b"hello")

    response = play.response()
    assert (response.status, response.phrase, response.body) == (200, b"OK", b"hello")
    assert sorted(names(response)) == sorted(SERVERS_HEADERS)


def test_an_empty_answer_has_a_length():
    play = later()

    play.answer(b"")

    assert play.response().header("content-length") == "0"


@pytest.mark.parametrize("size", [0, 1, 16 * 1024 - 1, 16 * 1024, 10**6])
def test_answers_of_all_sizes_arrive_whole(size):
    play = later()

    play.answer(memoryview(b"x" * size))

    assert play.response().body == b"x" * size


def test_the_request_id_is_the_jobs():
    play = later()

    play.answer()

    assert play.response().header("x-request-id") == play.jobs[0].row.request_id


def test_a_handler_sets_status_phrase_and_headers():
    play = later()

    play.answer(status=201, phrase="Made", headers=["Content-Type", "text/x", "X-A", "b"])

    response = play.response()
    assert (response.status, response.phrase, response.body) == (201, b"Made", b"answer")
    assert (response.header("content-type"), response.header("x-a")) == ("text/x", "b")


@pytest.mark.parametrize(
    ("status", "phrase"), [(200, b"OK"), (299, b"Success (299)"), (404, b"Not Found"), (599, None)]
)
def test_a_status_without_phrase_gets_one(status, phrase):
    play = later()

    play.answer(status=status, headers=["x-a", "b"])

    assert play.response().status == status
    assert phrase is None or play.response().phrase == phrase


@pytest.mark.parametrize("status", [1, 99, 100, 101, 199, 600, 999, -1])
def test_a_status_that_is_none_is_the_servers_error(status):
    play = later()

    play.answer(status=status)

    assert play.response().status == 500


@pytest.mark.parametrize("status", [400, 404, 500, 599])
def test_a_handlers_error_closes_the_connection(status):
    play = later()

    play.answer(status=status)

    assert play.response().header("connection") == "close"
    assert play.is_closed


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_has_none(status):
    play = later()

    play.answer(b"dropped", status=status)
    play.feed(request("/status/200"))

    first, second = play.responses()
    assert (first.status, first.body, first.header("content-length")) == (status, b"", None)
    assert second.body == b"status"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param([], 0, id="plain"),
        pytest.param(["Content-Type", "text/x"], 0, id="dressed"),
        pytest.param([], 404, id="error"),
    ],
)
def test_head_gets_the_headers_and_no_body(headers, status):
    play = later(method="HEAD")

    play.answer(b"hello", status=status, headers=headers)

    response = play.response("HEAD")
    assert (response.header("content-length"), response.body) == ("5", b"")
    assert bytes(play.transport.sent).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("target", ["/now", "/refuse", "/bug", "/none", "/status/500"])
def test_head_gets_no_body_from_the_server_either(target):
    play = HttpPlay().feed(request(target, "HEAD"))

    assert bytes(play.transport.sent).endswith(b"\r\n\r\n")
    assert int(play.response("HEAD").header("content-length")) > 0


def test_an_exchange_answers_once():
    play = later()
    exchange = play.jobs[0].sink

    play.answer(b"first")
    exchange.respond_json({"second": True})
    exchange.respond_error(QueueFull())

    assert play.response().body == b"first"


# -- what a handler may not do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("X-A", "b\r\nX-Evil: 1", id="CRLF in a value"),
        pytest.param("X-A", "b\nX-Evil: 1", id="LF in a value"),
        pytest.param("X-A", "b\rX-Evil: 1", id="CR in a value"),
        pytest.param("X-A", "b\x00", id="NUL in a value"),
        pytest.param("X-A", "b\x1bc", id="control character in a value"),
        pytest.param("X-A", "b\x7f", id="DEL in a value"),
        pytest.param("X-A\r\nX-Evil", "1", id="CRLF in a name"),
        pytest.param("X-A: 1\nX-Evil", "1", id="LF in a name"),
        pytest.param("X-A:", "1", id="colon in a name"),
        pytest.param("X A", "1", id="blank in a name"),
        pytest.param("", "1", id="no name"),
        pytest.param("X-Ä", "1", id="letter that is none in a name"),
    ],
)
def test_a_header_that_is_none_is_left_out(name, value):
    play = later()

    play.answer(headers=[name, value, "X-Good", "yes"])

    response = play.response()
    assert sorted(names(response)) == sorted([*SERVERS_HEADERS, "x-good"])
    assert b"Evil" not in play.transport.sent


@pytest.mark.parametrize("phrase", ["No\r\nX-Evil: 1", "No\nX-Evil: 1", "No\x00\x1b\x7f"])
def test_a_phrase_cannot_be_more_than_a_phrase(phrase):
    play = later()

    play.answer(phrase=phrase)

    response = play.response()
    assert sorted(names(response)) == sorted(SERVERS_HEADERS)
    assert response.phrase.startswith(b"No ")


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "transfer-ENCODING", "Connection", "Date", "X-Request-Id", "Pragma",
     "Cache-Control", "Expires", "Keep-Alive", "Upgrade", "Trailer"],
)  # fmt: skip
def test_a_handler_cannot_set_the_servers_headers(name):
    play = later()

    play.answer(headers=[name, "mine"])

    assert play.response().header(name.lower()) != "mine"


def test_of_a_header_set_twice_the_last_counts():
    play = later()

    play.answer(headers=["X-A", "1", "x-a", "2"])

    assert play.response().header("x-a") == "2"


def test_values_are_latin_1_where_they_can_be_and_utf_8_else():
    play = later()

    play.answer(headers=["X-A", "é", "X-B", "☃"], phrase="é☃")

    headers = dict(play.response().headers)
    assert (headers[b"x-a"], headers[b"x-b"]) == (b"\xe9", "☃".encode())
    assert play.response().phrase == b"\xe9?"


# -- CORS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/now", "/none", "/refuse", "/status/204", "/later"])
def test_configured_cors_headers_are_on_every_response(target):
    play = HttpPlay(context={"cors": CORS}).feed(request(target))
    if play.jobs:
        play.answer()

    response = play.response()
    assert response.header("access-control-allow-origin") == "https://a.example"
    assert response.header("access-control-allow-methods") == "GET"
    assert response.header("access-control-allow-headers") is None


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_handlers_own_cors_header_comes_first(is_stream):
    play = later(HttpPlay(context={"cors": CORS}))
    headers = ["Access-Control-Allow-Origin", "*"]

    if is_stream:
        play.chunk(b"a", headers=headers)
    play.answer(headers=headers)

    response = play.response()
    assert response.header("access-control-allow-origin") == "*"
    assert response.header("access-control-allow-methods") == "GET"


# -- errors -------------------------------------------------------------------------------------------


def test_an_error_is_a_document():
    play = HttpPlay().feed(request("/refuse"))

    response = play.response()
    assert response.header("content-type") == "application/json"
    assert response.body.endswith(b"\n")
    assert json.loads(response.body) == {
        "code": 503,
        "type": "ServiceUnavailableException",
        "message": "The job queue of the model is full.",
    }


@pytest.mark.parametrize(
    ("target", "standard", "status", "header"),
    [
        pytest.param("/refuse", False, 503, ("retry-after", None), id="queue full"),
        pytest.param("/refuse", True, 429, ("retry-after", "1"), id="queue full, standard"),
        pytest.param("/locked", False, 400, ("www-authenticate", None), id="no token"),
        pytest.param("/locked", True, 401, ("www-authenticate", "Bearer"), id="no token, standard"),
        pytest.param("/%zz", False, 400, ("retry-after", None), id="broken percent"),
        pytest.param("/none", False, 404, ("retry-after", None), id="unknown path"),
    ],
)
def test_statuses_are_torchserves_or_https(target, standard, status, header):
    play = HttpPlay(context={"standard_status_codes": standard}).feed(request(target))

    response = play.response()
    assert response.status == status
    assert json.loads(response.body)["code"] == status
    assert response.header(header[0]) == header[1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WorkerDied(), 500),
        (DeadlineExceeded(), 408),
        (PredictionError("no", 418), 418),
        (PredictionError("nothing", 204), 204),
        (InternalError(), 500),
    ],
)
def test_a_job_that_fails_is_answered(error, status):
    play = later()

    play.jobs[0].fail(error)

    assert play.response().status == status
    assert play.stats.events == [("failed", type(error).__name__)]


def test_an_error_message_is_text_whatever_it_is():
    play = later()

    play.jobs[0].fail(PredictionError('é☃"\r\n\x00', 400))

    assert json.loads(play.response().body)["message"] == 'é☃"\r\n\x00'


# -- streams ------------------------------------------------------------------------------------------


def test_a_stream_is_chunked_and_each_piece_leaves_at_once():
    play = later()

    play.chunk(b"one")
    assert play.response().pieces == [b"one"]
    assert not play.response().is_complete

    play.chunk(b"two")
    play.answer(b"three")

    response = play.response()
    assert response.pieces == [b"one", b"two", b"three"]
    assert response.is_complete
    assert response.header("transfer-encoding") == "chunked"
    assert response.header("content-length") is None
    assert response.header("ts_stream_next") == "true"
    assert response.header("connection") == "keep-alive"
    assert not play.is_closed


def test_pieces_that_come_together_leave_together():
    play = later()
    play.channel.after_read = []

    play.chunk(b"one")
    play.chunk(b"two")
    assert play.transport.writes == 0
    play.channel.end_read()

    assert play.transport.writes == 1
    assert play.response().pieces == [b"one", b"two"]

    play.chunk(b"three")
    play.answer(b"four")
    play.channel.end_read()

    assert play.transport.writes == 2
    assert play.response().pieces == [b"one", b"two", b"three", b"four"]
    assert play.response().is_complete


def test_pieces_leave_before_their_stream_breaks():
    play = later()
    play.channel.after_read = []

    play.chunk(b"one")
    play.jobs[0].fail(HandlerFailed())
    play.channel.end_read()

    assert play.response().pieces == [b"one"]
    assert not play.response().is_complete
    assert play.is_closed


def test_large_pieces_are_not_joined():
    play = later()
    play.channel.after_read = []
    large = b"x" * JOIN_BELOW_BYTES

    play.chunk(large)
    play.chunk(memoryview(large))
    play.channel.end_read()

    assert b"".join(play.response().pieces) == 2 * large


def test_pieces_for_a_client_that_has_gone_are_dropped():
    play = later()
    play.channel.after_read = []

    play.chunk(b"one")
    play.transport.abort()
    play.channel.end_read()

    assert play.transport.sent == b""


def test_a_handler_may_mark_its_stream_itself():
    play = later()

    play.chunk(b"one", headers=["ts_stream_next", "perhaps"])

    assert play.transport.sent.count(b"ts_stream_next") == 1
    assert play.response().header("ts_stream_next") == "perhaps"


def test_empty_pieces_do_not_end_a_stream():
    play = later()

    play.chunk(b"")
    play.chunk(b"a")
    play.chunk(b"")
    play.answer(b"")

    response = play.response()
    assert (response.pieces, response.is_complete) == ([b"a"], True)


def test_the_first_piece_brings_status_and_headers():
    play = later()

    play.chunk(b"a", status=206, phrase="Some", headers=["X-A", "1", "Content-Length", "9"])
    play.answer(b"b", status=500, headers=["X-B", "2"])

    response = play.response()
    assert (response.status, response.phrase, response.header("x-a")) == (206, b"Some", "1")
    assert response.header("x-b") is None


def test_a_connection_is_used_again_behind_a_stream():
    play = later().feed(request("/now"))

    play.chunk(b"a")
    assert len(play.responses()) == 1
    play.answer(b"")

    assert [r.status for r in play.responses()] == [200, 200]


def test_a_stream_waits_behind_pipelined_requests():
    play = HttpPlay().feed(request("/later/1") + request("/later/2"))

    play.answer(b"1", at=0)
    play.chunk(b"2", at=1)
    play.answer(b"", at=1)

    assert [r.body for r in play.responses()] == [b"1", b"2"]


@pytest.mark.parametrize("headers", [(), [("Connection", "keep-alive")]], ids=["plain", "keep"])
def test_a_1_0_client_gets_a_stream_that_ends_with_the_connection(headers):
    play = later(version="1.0", headers=headers)

    play.chunk(b"one")
    play.answer(b"two")

    response = play.response()
    assert (response.body, response.header("transfer-encoding")) == (b"onetwo", None)
    assert response.header("connection") == "close"
    assert play.is_closed


@pytest.mark.parametrize("status", [204, 304])
def test_a_stream_with_a_status_without_body_has_none(status):
    play = later()

    play.chunk(b"a", status=status)
    play.chunk(b"b")
    play.answer(b"c")
    play.feed(request("/status/200"))

    first, second = play.responses()
    assert (first.status, first.body, first.header("transfer-encoding")) == (status, b"", None)
    assert second.body == b"status"


def test_head_of_a_stream_ends_the_job():
    play = later(method="HEAD").feed(request("/now"))

    play.chunk(b"a")
    play.chunk(b"b")

    first, second = play.responses(["HEAD"])
    assert (first.status, first.body, second.status) == (200, b"", 200)
    assert play.channel.cancelled == play.jobs
    assert play.stats.statuses == [200, 200]


@pytest.mark.parametrize("status", [0, 100, 1000])
def test_a_stream_with_no_valid_status_is_a_200(status):
    play = later()

    play.chunk(b"a", status=status)

    assert play.response().status == 200


def test_a_stream_that_breaks_has_no_last_chunk():
    play = later().feed(request("/now"))
    play.chunk(b"a")

    play.jobs[0].fail(WorkerDied())

    response = play.response()
    assert (response.body, response.is_complete) == (b"a", False)
    assert play.is_closed
    assert play.requests[1:] == []


def test_a_stream_that_breaks_resets_a_1_0_client():
    play = later(version="1.0")
    play.chunk(b"a")

    play.jobs[0].fail(WorkerDied())

    assert play.transport.is_aborted


def test_a_stream_that_breaks_sends_a_1_0_client_a_real_reset():
    """Dropping a socket that has nothing unread ends it in good order, which would be a lie here."""
    with socket.socket(socket.AF_INET) as given:
        play = later(HttpPlay(transport=FakeTransport(sock=given)), version="1.0")
        play.chunk(b"a")

        play.jobs[0].fail(WorkerDied())

        lingers = given.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert struct.unpack("ii", lingers) == (1, 0)


def test_a_stream_that_breaks_is_counted_once():
    play = later()
    play.chunk(b"a")

    play.jobs[0].fail(WorkerDied())

    assert play.stats.statuses == [200]
    assert play.stats.events == [("answered", 200), ("failed", "WorkerDied")]


def test_a_stream_is_counted_at_its_beginning_and_logged_at_its_end():
    play = later()

    play.chunk(b"a")
    assert play.stats.events == [("answered", 200)]
    assert play.access_log.lines == []

    play.answer(b"b")
    assert play.stats.events == [("answered", 200), ("streamed", "DONE")]
    assert [line[3] for line in play.access_log.lines] == [200]


# -- slow clients and clients that leave ------------------------------------------------------------------


def slow_stream(**limits):
    """A stream whose client does not take it."""
    play = later(HttpPlay(**limits))
    play.transport.stall()
    play.chunk(b"x" * 2 * HIGH_WATER)
    return play


def test_a_slow_client_holds_the_producer_until_it_has_caught_up():
    play = slow_stream()
    assert play.channel.paused == 1

    play.chunk(b"more")
    assert play.channel.paused == 1

    play.transport.take()
    assert play.channel.paused == 0


def test_a_quick_client_holds_nobody():
    play = later()

    for _ in range(100):
        play.chunk(b"x" * HIGH_WATER)

    assert play.channel.paused == 0


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda play: play.transport.lose(), id="connection lost"),
        pytest.param(lambda play: play.transport.end_of_stream(), id="end of stream"),
        pytest.param(lambda play: play.answer(b"last"), id="stream complete"),
        pytest.param(lambda play: play.jobs[0].fail(WorkerDied()), id="stream broken"),
        pytest.param(lambda play: play.jobs[0].expire(), id="deadline"),
    ],
)
def test_a_slow_client_holds_the_producer_no_longer_than_its_stream(end):
    """The producer is a worker's channel: others wait for it."""
    play = slow_stream()

    end(play)

    assert play.channel.paused == 0


def test_a_slow_client_that_takes_nothing_is_dropped_and_its_job_cancelled():
    play = slow_stream(client_write_s=10)

    for _ in range(12):
        play.tick(1)

    assert play.transport.is_aborted
    assert play.channel.cancelled == play.jobs
    assert play.channel.paused == 0


def test_a_broken_stream_does_not_wait_for_ever_for_a_slow_client():
    play = slow_stream(client_write_s=10)
    play.jobs[0].fail(WorkerDied())

    for _ in range(12):
        play.tick(1)

    assert play.transport.is_lost


def test_a_client_that_leaves_a_stream_cancels_the_job():
    play = later()
    play.chunk(b"a")

    play.transport.end_of_stream()

    assert play.channel.cancelled == play.jobs
    assert play.stats.statuses == [499]
    assert not play.chunk(b"b")


@pytest.mark.parametrize("leave", ["lose", "end_of_stream"])
def test_an_answer_without_a_job_is_dropped_when_the_client_has_left(leave):
    """A management call goes on, and its answer finds nobody."""
    play = HttpPlay().feed(request("/task"))
    (exchange,) = play.exchanges

    getattr(play.transport, leave)()
    exchange.respond_json({"status": "done"})

    assert play.transport.sent == b""
    assert play.stats.statuses == [499]
    assert repr(exchange) == f"<Exchange {exchange.request_id} DONE>"


# -- server-sent events --------------------------------------------------------------------------------------


def test_a_stream_becomes_events():
    play = later(headers=[SSE])

    play.chunk(b"one\ntwo")
    play.answer(b"three")

    response = play.response()
    assert response.header("content-type") == "text/event-stream; charset=utf-8"
    assert response.pieces == [b"data: one\ndata: two\n\n", b"data: three\n\n"]


@pytest.mark.parametrize(
    "headers", [[], ["X-A", "b"]], ids=["plain", "with a header of the handler's"]
)
def test_a_single_answer_becomes_an_event(headers):
    play = later(headers=[SSE])

    play.answer(b"one", headers=headers)

    response = play.response()
    assert response.header("content-type") == "text/event-stream; charset=utf-8"
    assert response.body == b"data: one\n\n"


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_handlers_content_type_keeps_its_bytes(is_stream):
    play = later(headers=[SSE])
    headers = ["Content-Type", "text/event-stream"]

    if is_stream:
        play.chunk(b"data: own\n\n", headers=headers)
    play.answer(b"data: own\n\n", headers=headers)

    assert set(play.response().pieces) == {b"data: own\n\n"}
    assert play.response().header("content-type") == "text/event-stream"


def test_a_handlers_error_is_no_event():
    play = later(headers=[SSE])

    play.answer(b"no", status=400)

    assert play.response().body == b"no"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_error_within_events_is_an_event_and_no_proper_end(version):
    play = later(headers=[SSE], version=version)
    play.chunk(b"a")

    play.jobs[0].fail(WorkerDied("It died."))

    sent = bytes(play.transport.sent)
    assert b'event: error\ndata: {\ndata:   "code": 500' in sent
    assert not sent.endswith(b"0\r\n\r\n")
    assert play.is_closed


def test_head_of_an_event_stream_has_its_type():
    play = later(headers=[SSE], method="HEAD")

    play.answer(b"one")

    response = play.response("HEAD")
    assert response.header("content-type") == "text/event-stream; charset=utf-8"
    assert response.body == b""


@pytest.mark.parametrize("target", ["/v1/models/m:predict", "/v2/models/m/infer", "/v2"])
def test_errors_on_kserve_s_paths_are_where_its_clients_look(target):
    document = json.loads(HttpPlay().feed(request(target)).response().body)

    assert set(document) == {"code", "type", "message", "error"}
    assert document["error"] == document["message"]


@pytest.mark.parametrize("target", ["/none", "/v", "/v1", "/predictions/v1/"])
def test_errors_elsewhere_are_torchserve_s_alone(target):
    document = json.loads(HttpPlay().feed(request(target)).response().body)

    assert set(document) == {"code", "type", "message"}
