from __future__ import annotations

import asyncio
import gc
import math
import weakref

import pytest
from fakes import HIGH_WATER, FakeTransport
from http_client import HttpPlay, chunked, request

from tsl.frontend.http_api.messages import CONTINUE
from tsl.frontend.http_api.parser import BODY_PROGRESS_BYTES
from tsl.protocol.errors import DeadlineExceeded

MIXED = (
    request("/now/1?a=b")
    + request("/now/2", "POST", body=b"hello", headers=[("Content-Type", "text/plain")])
    + chunked("/now/3")
    + request("/status/204")
    + request("/status/404", "HEAD")
)
MIXED_METHODS = ("GET", "POST", "POST", "GET", "HEAD")


def described(responses):
    """What must not depend on how the bytes arrived."""
    return [
        (r.status, r.body, [h for h in r.headers if h[0] != b"x-request-id"]) for r in responses
    ]


# -- keep-alive and pipelining ---------------------------------------------------------------------


def test_one_byte_at_a_time_gives_the_same_responses():
    whole = HttpPlay().feed(MIXED).responses(MIXED_METHODS)

    single = HttpPlay().feed_bytewise(MIXED).responses(MIXED_METHODS)

    assert [r.status for r in whole] == [200, 200, 200, 204, 404]
    assert described(single) == described(whole)


@pytest.mark.parametrize("at", range(1, len(MIXED)))
def test_every_split_point_gives_the_same_responses(at):
    whole = HttpPlay().feed(MIXED).responses(MIXED_METHODS)

    split = HttpPlay().feed(MIXED[:at], MIXED[at:]).responses(MIXED_METHODS)

    assert described(split) == described(whole)


def test_a_connection_is_kept_and_used_again():
    play = HttpPlay()

    for _ in range(3):
        play.feed(request())

    assert [r.header("connection") for r in play.responses()] == ["keep-alive"] * 3
    assert not play.is_closed


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(request(headers=[("Connection", "close")]), id="1.1 close"),
        pytest.param(request(version="1.0"), id="1.0"),
        pytest.param(request("/status/400"), id="an error"),
        pytest.param(request("/later/x", headers=[("Connection", "close")]), id="a job's answer"),
        pytest.param(b"%%%\r\n\r\n", id="no HTTP"),
    ],
)
def test_a_last_response_says_so_and_closes(given):
    play = HttpPlay().feed(given)
    if play.jobs:
        play.answer()

    assert play.response().header("connection") == "close"
    assert play.is_closed


def test_a_1_0_client_may_keep_its_connection_as_ab_does():
    play = HttpPlay()
    given = request(version="1.0", host=False, headers=[("Connection", "Keep-Alive")])

    play.feed(given, given)

    assert [r.header("connection") for r in play.responses()] == ["keep-alive"] * 2
    assert not play.is_closed


def test_a_1_0_client_may_keep_its_connection_for_a_model_too():
    play = HttpPlay().feed(request("/later", version="1.0", headers=[("Connection", "keep-alive")]))

    play.answer()

    assert play.response().header("connection") == "keep-alive"
    assert not play.is_closed


def test_responses_keep_the_order_of_requests():
    play = HttpPlay().feed(request("/later/1") + request("/now/2") + request("/later/3"))
    assert play.responses() == []

    play.answer(b"first")
    assert [r.status for r in play.responses()] == [200, 200]

    play.answer(b"third")
    bodies = [r.body for r in play.responses()]
    assert (bodies[0], bodies[2]) == (b"first", b"third")


def test_a_pipelined_request_waits_for_the_answer_before_it():
    """At most one job of a connection is under way."""
    play = HttpPlay().feed(request("/later") * 3)

    assert len(play.jobs) == 1
    play.answer()
    assert len(play.jobs) == 2


def test_many_immediate_requests_do_not_nest():
    play = HttpPlay(pipelined=10_000).feed(request("/later") + request("/now") * 3000)

    play.answer()

    assert len(play.responses()) == 3001


def test_requests_behind_a_last_response_are_not_served():
    play = HttpPlay().feed(
        request("/now/1") + request("/now/2", headers=[("Connection", "close")]) + request("/now/3")
    )

    assert [r.status for r in play.responses()] == [200, 200]
    assert [r.target for r in play.requests] == [b"/now/1", b"/now/2"]


def test_requests_behind_an_error_are_not_served():
    play = HttpPlay().feed(request("/refuse") + request("/now"))

    assert [r.status for r in play.responses()] == [503]
    assert play.requests == []


def test_a_broken_request_waits_for_the_answers_before_it():
    play = HttpPlay().feed(request("/later") + b"%%%\r\n\r\n" + request("/now"))
    assert play.responses() == []

    play.answer()

    assert [r.status for r in play.responses()] == [200, 400]
    assert play.is_closed


def test_too_many_pipelined_requests_pause_reading_until_half_are_served():
    play = HttpPlay(pipelined=4).feed(request("/later") * 4)
    assert play.transport.is_reading

    play.feed(request("/later") * 2)
    assert not play.transport.is_reading

    play.answer()
    play.answer()
    assert not play.transport.is_reading

    play.answer()
    assert play.transport.is_reading


def test_large_pipelined_bodies_pause_reading():
    """The number of waiting requests is bounded, and so are their bytes."""
    play = HttpPlay(body_bytes=1000).feed(request("/later"))

    play.feed(*[request("/later", "POST", body=b"x" * 600)] * 5)

    assert not play.transport.is_reading
    assert len(play.connection._waiting) == 2
    for _ in range(6):
        play.answer()
    assert len(play.responses()) == 6
    assert play.transport.is_reading


def test_a_bug_in_an_endpoint_costs_one_request():
    play = HttpPlay().feed(request("/bug"))

    response = play.response()

    assert response.status == 500
    assert b"a bug" not in response.body


# -- 100-continue ------------------------------------------------------------------------------------


def put(size, target="/now", expect="100-continue"):
    return request(target, "PUT", headers=[("Expect", expect), ("Content-Length", str(size))])


def test_a_client_that_waits_is_told_to_go_on_once():
    play = HttpPlay().feed(put(4))
    assert play.transport.sent == CONTINUE

    play.feed(b"ab", b"cd")

    assert [r.status for r in play.responses()] == [100, 200]
    assert play.requests[0].body == b"abcd"


def test_a_client_is_told_to_go_on_one_byte_at_a_time_too():
    play = HttpPlay().feed_bytewise(put(4) + b"abcd")

    assert [r.status for r in play.responses()] == [100, 200]


def test_a_client_whose_body_came_along_is_not_told():
    play = HttpPlay().feed(put(4) + b"a", b"bcd")

    assert [r.status for r in play.responses()] == [200]


def test_a_client_is_told_when_the_answers_before_are_sent():
    play = HttpPlay().feed(request("/later") + put(1))
    assert play.transport.sent == b""

    play.answer()
    assert [r.status for r in play.responses()] == [200, 100]

    play.feed(b"x")
    assert [r.status for r in play.responses()] == [200, 100, 200]


def test_a_client_that_did_not_wait_is_not_told_later():
    play = HttpPlay().feed(request("/later") + put(2), b"x")

    play.answer()
    play.feed(b"y")

    assert [r.status for r in play.responses()] == [200, 200]


def test_a_body_that_is_announced_too_large_is_refused_instead():
    play = HttpPlay(body_bytes=10).feed(put(11))

    assert [r.status for r in play.responses()] == [413]


def test_another_expectation_is_refused():
    assert HttpPlay().feed(put(1, expect="x")).response().status == 417


def test_nobody_is_told_to_go_on_behind_a_last_response():
    play = HttpPlay().feed(request("/refuse") + put(1))

    assert [r.status for r in play.responses()] == [503]


# -- upgrades, methods and targets ---------------------------------------------------------------------


def test_an_upgrade_to_http_2_is_answered_in_http_1_1():
    headers = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]

    play = HttpPlay().feed(request(method="POST", headers=headers, body=b"abc"), request())

    assert [r.status for r in play.responses()] == [200, 200]
    assert play.requests[0].body == b"abc"


def test_connect_is_not_found():
    play = HttpPlay().feed(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\nmore")

    assert play.response().status == 404
    assert play.is_closed


def test_an_absolute_target_is_taken_by_its_path():
    """RFC 9112, 3.2.2: a server must accept it, though only proxies are sent it."""
    play = HttpPlay().feed(request("http://elsewhere:1/now/x?a=b"))

    assert play.response().status == 200


def test_a_head_request_that_is_refused_by_the_parser_gets_no_body():
    play = HttpPlay().feed(b"HEAD /now HTTP/1.1\r\n\r\n")

    response = play.response("HEAD")

    assert (response.status, response.body) == (400, b"")
    assert bytes(play.transport.sent).endswith(b"\r\n\r\n")


# -- time-outs -----------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed():
    play = HttpPlay(keep_alive_s=10).feed(request())

    play.tick(9.5)
    assert not play.transport.is_lost

    play.tick(1)
    assert play.transport.is_lost


def test_a_connection_that_never_sends_is_closed():
    play = HttpPlay(keep_alive_s=10).tick(10)

    assert play.transport.is_lost
    assert play.connections == set()


def test_a_head_that_drips_is_timed_out():
    """Slow-loris: each byte comes soon, the head never."""
    play = HttpPlay(request_read_s=10)
    head = request(headers=[("X-A", "a" * 100)])

    for at in range(11):
        play.feed(head[at : at + 1]).tick(1)

    assert play.response().status == 408
    assert play.is_closed


def test_a_head_that_drips_behind_a_request_is_timed_out():
    play = HttpPlay(request_read_s=10, keep_alive_s=100).feed(request() + b"G")
    head = request()[1:]

    for at in range(11):
        play.feed(head[at : at + 1]).tick(1)

    assert [r.status for r in play.responses()] == [200, 408]
    assert play.is_closed


def test_a_body_that_drips_is_timed_out():
    play = HttpPlay(request_read_s=10).feed(
        request(method="POST", headers=[("Content-Length", 9999)])
    )

    for _ in range(11):
        play.feed(b"a").tick(1)

    assert play.response().status == 408


def test_chunks_that_drip_are_timed_out():
    play = HttpPlay(request_read_s=10).feed(
        request(method="POST", headers=[("Transfer-Encoding", "chunked")])
    )

    for _ in range(11):
        play.feed(b"1\r\na\r\n").tick(1)

    assert play.response().status == 408


def test_a_body_that_gets_on_has_time():
    size = 40 * BODY_PROGRESS_BYTES
    play = HttpPlay(request_read_s=10).feed(
        request(method="POST", headers=[("Content-Length", size)])
    )

    for _ in range(40):
        play.feed(b"a" * BODY_PROGRESS_BYTES).tick(8)

    assert play.response().status == 200


def test_empty_lines_do_not_keep_a_connection_alive():
    play = HttpPlay(keep_alive_s=10, request_read_s=10)

    for _ in range(12):
        play.feed(b"\r\n").tick(1)

    assert play.transport.is_lost


def test_a_job_has_its_own_time():
    play = HttpPlay(keep_alive_s=1, request_read_s=1).feed(request("/later"))

    play.tick(1000)
    play.answer()

    assert play.response().status == 200


def test_a_job_has_its_own_time_while_the_next_request_arrives():
    play = HttpPlay(keep_alive_s=10, request_read_s=10).feed(request("/later"), request("/now"))
    play.feed(b"POST /now HTTP/1.1\r\n")

    play.tick(1000)
    play.answer()

    assert [r.status for r in play.responses()] == [200, 200]
    assert not play.transport.is_lost


def test_a_job_has_its_own_time_while_the_next_body_arrives():
    play = HttpPlay(request_read_s=10).feed(request("/later"))
    play.feed(request(method="POST", headers=[("Content-Length", 10**6)]))
    play.feed(b"a" * BODY_PROGRESS_BYTES)

    play.tick(1000)

    assert not play.transport.is_lost


def test_the_next_request_has_all_its_time_when_the_answer_before_is_sent():
    play = HttpPlay(request_read_s=10).feed(request("/later"), b"GET /now HT")
    play.tick(1000)
    play.answer()

    play.tick(9)
    play.feed(b"TP/1.1\r\nHost: h\r\n\r\n")

    assert [r.status for r in play.responses()] == [200, 200]


# -- a client that does not read -----------------------------------------------------------------------


def test_a_client_that_does_not_read_is_dropped():
    play = HttpPlay(client_write_s=10)
    play.transport.stall()
    play.feed(request(f"/big/{2 * HIGH_WATER}"))

    play.tick(9)
    assert not play.transport.is_lost

    play.tick(2)
    assert play.transport.is_aborted


def test_a_client_that_reads_slowly_is_served():
    """It takes a little all the time; the whole takes much longer than the limit."""
    play = HttpPlay(client_write_s=10)
    play.transport.stall()
    play.feed(request("/big/1000000"))

    for _ in range(100):
        play.tick(5)
        play.transport.take(10_000)
    play.transport.take()

    assert len(play.response().body) == 1_000_000


def test_a_last_response_is_not_cut_for_a_slow_client():
    play = HttpPlay(client_write_s=10, linger_s=2)
    play.transport.stall()
    play.feed(request("/big/1000000", headers=[("Connection", "close")]))

    for _ in range(100):
        play.tick(5)
        play.transport.take(10_000)
    play.transport.take()

    assert len(play.response().body) == 1_000_000


def test_a_small_last_response_is_not_cut_for_a_slow_client():
    """What is pending is below the mark at which a transport speaks of pausing."""
    play = HttpPlay(client_write_s=10, linger_s=2)
    play.transport.stall()
    play.feed(request("/big/50000", headers=[("Connection", "close")]))

    for _ in range(5):
        play.tick(5)
        play.transport.take(5_000)
    play.transport.take()

    assert len(play.response().body) == 50_000


def test_a_client_that_never_takes_its_last_response_is_dropped():
    play = HttpPlay(client_write_s=10, linger_s=2)
    play.transport.stall()
    play.feed(request("/big/50000", headers=[("Connection", "close")]))

    for _ in range(20):
        play.tick(2)

    assert play.transport.is_aborted


def test_requests_wait_while_a_client_does_not_read_the_answers():
    play = HttpPlay(pipelined=4)
    play.transport.stall()

    play.feed(*[request(f"/big/{HIGH_WATER}")] * 100)

    assert len(play.transport.pending) < 4 * HIGH_WATER
    assert not play.transport.is_reading


def test_requests_go_on_when_the_client_reads():
    play = HttpPlay(pipelined=4)
    play.transport.stall()
    play.feed(*[request(f"/big/{HIGH_WATER}")] * 4)

    play.transport.take()

    assert len(play.responses()) == 4
    assert play.transport.is_reading


def test_a_client_that_sends_and_never_reads_is_dropped():
    play = HttpPlay(client_write_s=10, request_read_s=60, keep_alive_s=75)
    play.transport.stall()

    for _ in range(25):
        play.feed(request(f"/big/{HIGH_WATER}")).tick(1)

    assert play.transport.is_aborted


def test_a_client_that_sends_slowly_and_never_reads_is_dropped():
    """It has a part of the next request under way, so a 408 would be due, which it would not read."""
    play = HttpPlay(client_write_s=10, request_read_s=5)
    play.transport.stall()
    play.feed(request(f"/big/{2 * HIGH_WATER}") + b"GET /")

    for _ in range(30):
        play.tick(1)

    assert play.transport.is_aborted


# -- the number of connections, and the end ----------------------------------------------------------------


def test_connections_beyond_the_limit_are_turned_away():
    play = HttpPlay(connections=2)
    play.connect()

    _, transport = play.connect()

    assert transport.is_aborted
    assert len(play.connections) == 2


def test_a_connection_that_ends_makes_room():
    play = HttpPlay(connections=1)
    play.transport.lose()

    _, transport = play.connect()

    assert not transport.is_aborted


def test_behind_a_last_response_the_client_has_time_to_read_it():
    """Closing at once, with unread bytes, would reset the connection."""
    play = HttpPlay(body_bytes=10, linger_s=2).feed(put(11))
    assert play.transport.is_eof_written
    assert not play.transport.is_lost

    play.feed(b"x" * 100_000)
    assert play.response().status == 413

    play.transport.end_of_stream()
    assert play.transport.is_lost


def test_a_client_that_does_not_close_is_closed():
    play = HttpPlay(linger_s=2).feed(request(headers=[("Connection", "close")]))

    play.tick(1)
    play.feed(b"more")
    assert not play.transport.is_lost

    play.tick(1)
    assert play.transport.is_lost


def test_reading_goes_on_while_the_client_is_given_time():
    play = HttpPlay(pipelined=2).feed(request("/later") + request("/status/400") + request() * 5)
    assert not play.transport.is_reading

    play.answer()

    assert play.transport.is_reading


def test_a_transport_that_cannot_close_half_is_closed():
    play = HttpPlay(transport=FakeTransport(can_write_eof=False))

    play.feed(request(headers=[("Connection", "close")]))

    assert play.transport.is_lost
    assert play.response().status == 200


def test_a_last_response_is_not_cut_while_it_is_below_tls():
    below = FakeTransport(asyncio.Protocol())
    play = HttpPlay(
        client_write_s=10, linger_s=2, transport=TlsTransport(can_write_eof=False), below=below
    )
    below.stall()
    below.write(b"x" * 100_000)
    play.feed(request(headers=[("Connection", "close")]))

    for _ in range(20):
        play.tick(9)
        below.take(1)
    assert not play.transport.is_aborted

    play.tick(10)
    play.tick(10)
    assert play.transport.is_aborted


class TlsTransport(FakeTransport):
    """Closing takes as long as the client takes for its part."""

    def close(self):
        self._is_closing = True


def test_over_tls_a_client_that_ends_its_side_has_left():
    """TLS is closed for both directions at once, so even one that could listen is not answered."""
    play = HttpPlay(transport=FakeTransport(can_write_eof=False))
    play.feed(request("/later", headers=[("Connection", "close")]))

    play.transport.end_of_stream()

    assert play.jobs[0].is_settled
    assert play.transport.is_lost


# -- the end of the client's stream -------------------------------------------------------------------------


def test_an_end_between_requests_closes():
    play = HttpPlay().feed(request())

    play.transport.end_of_stream()

    assert play.transport.is_lost
    assert play.connections == set()


def test_an_end_within_a_request_closes():
    play = HttpPlay().feed(b"POST /now HT")

    play.transport.end_of_stream()

    assert play.transport.is_lost
    assert play.transport.sent == b""


def test_a_client_that_leaves_cancels_its_job():
    play = HttpPlay().feed(request("/later"))

    play.transport.end_of_stream()

    assert play.channel.cancelled == play.jobs
    assert play.stats.statuses == [499]
    assert not play.answer()
    assert play.transport.is_lost


def test_a_connection_that_breaks_cancels_its_job():
    play = HttpPlay().feed(request("/later") * 3)

    play.transport.lose()

    assert play.channel.cancelled == play.jobs
    assert len(play.jobs) == 1
    assert [line[3] for line in play.access_log.lines] == [499]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(request("/later", headers=[("Connection", "close")]), id="1.1 close"),
        pytest.param(request("/later", version="1.0"), id="1.0"),
    ],
)
def test_a_client_that_may_still_listen_is_answered(given):
    play = HttpPlay().feed(given)

    play.transport.end_of_stream()
    assert not play.transport.is_lost

    play.answer()
    assert play.response().status == 200
    assert play.transport.is_lost


def test_the_last_request_of_a_pipeline_tells_whether_the_client_may_still_listen():
    play = HttpPlay().feed(
        request("/later/1") + request("/later/2", headers=[("Connection", "close")])
    )

    play.transport.end_of_stream()
    play.answer(b"1")
    play.answer(b"2")

    assert [r.body for r in play.responses()] == [b"1", b"2"]


def test_an_end_behind_a_broken_request_waits_for_its_answer():
    play = HttpPlay().feed(request("/later") + b"%%%\r\n\r\n")

    play.transport.end_of_stream()
    play.answer()

    assert [r.status for r in play.responses()] == [200, 400]


def test_a_client_that_left_and_does_not_read_does_not_stay():
    play = HttpPlay(client_write_s=10, linger_s=2)
    play.transport.stall()
    play.feed(request("/big/1000"), request("/later"))

    play.transport.end_of_stream()

    assert play.connection.deadline < math.inf
    for _ in range(20):
        play.tick(2)
    assert play.transport.is_lost


# -- draining -----------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_when_the_server_stops():
    play = HttpPlay().feed(request())

    play.context.is_draining = True
    play.connection.drain()

    assert play.transport.is_lost


def test_the_present_request_is_answered_when_the_server_stops():
    play = HttpPlay().feed(request("/later"))

    play.context.is_draining = True
    play.connection.drain()
    play.answer()

    assert play.response().header("connection") == "close"
    assert play.is_closed


def test_a_request_that_is_arriving_is_answered_when_the_server_stops():
    play = HttpPlay().feed(request()[:10])

    play.context.is_draining = True
    play.connection.drain()
    play.feed(request()[10:])

    assert play.response().status == 200
    assert play.is_closed


# -- counting and logging -------------------------------------------------------------------------------


def test_each_response_is_counted_and_logged_once():
    play = HttpPlay().feed(request("/now?a=b") + request("/later", "POST") + b"%%%\r\n\r\n")

    play.answer(status=201)

    assert play.stats.statuses == [200, 201, 400]
    assert play.access_log.lines == [
        (b"/192.0.2.1:40000", b"GET", b"/now?a=b", 200),
        (b"/192.0.2.1:40000", b"POST", b"/later", 201),
        (b"/192.0.2.1:40000", b"GET", b"/bad-request", 400),
    ]


def test_an_expired_job_is_answered():
    play = HttpPlay().feed(request("/later"))

    play.jobs[0].expire()

    assert play.response().status == DeadlineExceeded.http_status


def test_the_representation_tells_the_client_and_the_request():
    play = HttpPlay()
    assert repr(play.connection) == "<HttpConnection /192.0.2.1:40000 idle>"

    play.feed(request("/later"))
    assert "WAITING" in repr(play.connection)


def test_a_client_on_a_unix_socket_has_no_address():
    play = HttpPlay(transport=FakeTransport(peername="")).feed(request())

    assert play.access_log.lines[0][0] == b"unix"


def test_an_answer_is_one_write():
    play = HttpPlay().feed(request("/later"))

    play.answer(b"x" * 100_000)

    assert play.transport.writes == 1


def test_a_lost_connection_is_freed_without_the_collector():
    play = HttpPlay()
    connection, transport = play.connect()
    transport.receive(request("/now"))
    gc.disable()
    try:
        connection.connection_lost(None)
        transport.set_protocol(None)
        alive = weakref.ref(connection)
        del connection

        assert alive() is None
    finally:
        gc.enable()
