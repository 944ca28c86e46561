"""Large bodies are read into their place: whatever the pieces, the request is the same."""

import asyncio
import json

import pytest
from http_client import HttpPlay

from tsl.frontend.direct_reading import DIRECT_BYTES

SIZE = 3 * DIRECT_BYTES
BODY = bytes(range(256)) * (SIZE // 256)


def head(size=SIZE, path="/later", *lines):
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {size}", *lines, "", ""]
    ).encode()


def is_direct(play):
    return isinstance(play.transport.get_protocol(), asyncio.BufferedProtocol)


@pytest.mark.parametrize("first", [0, 1, 1000, 2 * DIRECT_BYTES - 1, 2 * DIRECT_BYTES])
@pytest.mark.parametrize("step", [1000, DIRECT_BYTES, SIZE])
def test_a_large_body_is_complete_whatever_its_pieces(first, step):
    play = HttpPlay()

    play.feed(head() + BODY[:first])
    assert is_direct(play) == (SIZE - first >= DIRECT_BYTES)
    play.feed(*(BODY[at : at + step] for at in range(first, SIZE, step)))

    (request,) = play.requests
    assert request.body == BODY
    assert not is_direct(play)


def test_a_small_rest_is_read_as_usual():
    play = HttpPlay().feed(head(DIRECT_BYTES) + BODY[:1])

    assert not is_direct(play)


def test_requests_behind_a_large_body_are_answered():
    play = HttpPlay().feed(head(path="/now/1"), BODY + b"GET /now/2 HTTP/1.1\r\nHost: h\r\n\r\n")
    play.feed(head(path="/now/3") + BODY[:10], BODY[10:])

    first, second, third = (json.loads(each.body) for each in play.responses())
    assert (first["target"], second["target"], third["target"]) == ("/now/1", "/now/2", "/now/3")
    assert first["body"] == third["body"] == BODY.decode("latin-1")
    assert second["body"] == ""


def test_a_large_body_behind_a_request_that_waits():
    play = HttpPlay().feed(head(0), head(path="/now"), BODY[:500])
    assert not is_direct(play)

    play.feed(BODY[500:])
    play.answer(b"one")

    assert [each.status for each in play.responses()] == [200, 200]
    assert json.loads(play.responses()[1].body)["body"] == BODY.decode("latin-1")


def test_a_client_that_waits_for_leave_to_send_gets_it():
    play = HttpPlay().feed(head(SIZE, "/later", "Expect: 100-continue"))
    assert play.response().status == 100

    play.feed(BODY)

    assert play.requests[0].body == BODY


def test_a_large_body_that_gets_on_has_time_and_one_that_does_not_has_not():
    play = HttpPlay(request_read_s=10).feed(head(path="/now"))
    for at in range(0, DIRECT_BYTES, DIRECT_BYTES // 4):
        play.feed(BODY[at : at + DIRECT_BYTES // 4]).tick(8)
    assert play.transport.sent == b""

    play.tick(8)

    assert play.response().status == 408
    play.feed(BODY)  # thrown away
    assert len(play.responses()) == 1
    assert play.requests == []


def test_a_client_that_leaves_in_the_middle_is_no_trouble():
    play = HttpPlay().feed(head(), BODY[:100])

    assert not play.transport.get_protocol().eof_received()
    play.transport.get_protocol().connection_lost(None)

    assert play.connections == set()
    assert play.requests == []


def test_a_body_that_is_too_large_is_refused_before_there_is_room_for_it():
    play = HttpPlay(body_bytes=SIZE - 1).feed(head())

    assert not is_direct(play)
    assert play.response().status == 413


def test_a_client_that_does_not_read_meanwhile_is_noted():
    play = HttpPlay().feed(head(), BODY[:100])

    play.transport.get_protocol().pause_writing()
    play.feed(BODY[100:])
    assert play.requests == []  # it is served when the client has caught up

    play.transport.get_protocol().resume_writing()
    assert play.requests[0].body == BODY
