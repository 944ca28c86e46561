"""Streamed answers: when pieces arrive, and what happens when one side does not keep up."""

import http.client
import json
import socket
import time
from pathlib import Path

import pytest
import requests
from serving import RunningServer, eventually, workers
from wire import connect, post, read_all

pytestmark = pytest.mark.e2e

JSON = "Content-Type: application/json"


def order(**values):
    return json.dumps(values).encode()


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    """A server with streaming models."""
    running = RunningServer(tmp_path_factory.mktemp("stream"))
    running.add("stream", "stream", **workers(1))
    running.add("pair", "stream", **workers(1, batchSize=2, maxBatchDelay=2000))
    running.add("short", "stream", **workers(1, responseTimeout=1))
    running.add("echo", "echo", **workers(1))
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


def test_pieces_arrive_while_the_handler_works(streaming):
    moments = []
    with streaming.predict("stream", {"count": 5, "pause": 0.1}, stream=True) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        pieces = []
        for piece in answer.iter_content(None):
            moments.append(time.monotonic())
            pieces.append(piece.decode())

    assert pieces == [*(f"part-{number}\n" for number in range(5)), "end\n"]
    assert moments[-1] - moments[0] > 0.4


def test_two_streams_of_one_batch_go_to_their_own_clients(streaming):
    with connect(streaming.endpoint) as one, connect(streaming.endpoint) as two:
        for client in (one, two):
            client.sendall(post("/predictions/pair", order(count=3), JSON, "Connection: close"))

        bodies = [read_all(client).partition(b"\r\n\r\n")[2] for client in (one, two)]

    assert (
        bodies[0]
        == bodies[1]
        == b"".join(
            b"%x\r\n%b\r\n" % (len(piece), piece)
            for piece in (b"part-0\n", b"part-1\n", b"part-2\n", b"end\n")
        )
        + b"0\r\n\r\n"
    )


def test_a_client_that_leaves_ends_the_handler(streaming, tmp_path):
    note = tmp_path / "note"
    with connect(streaming.endpoint) as client:
        client.sendall(
            post("/predictions/stream", order(count=1000, pause=0.02, note=str(note)), JSON)
        )
        assert client.recv(4096)

    eventually(note.exists, "the handler noticed", 2)
    assert note.read_text().startswith("ClientDisconnected after ")
    assert streaming.predict("echo", b"x").status_code == 200
    assert streaming.predict("stream", {"count": 1}).text == "part-0\nend\n"


def test_one_client_of_a_batch_may_leave_without_harming_the_other(streaming):
    body = order(count=20, pause=0.03)
    with connect(streaming.endpoint) as stays:
        with connect(streaming.endpoint) as leaves:
            for client in (stays, leaves):
                client.sendall(post("/predictions/pair", body, JSON, "Connection: close"))
            leaves.recv(1)

        answer = read_all(stays)

    assert answer.count(b"part-") == 20
    assert answer.endswith(b"end\n\r\n0\r\n\r\n")


def test_a_slow_reader_holds_the_handler_up_but_no_other_model(streaming, tmp_path):
    note = tmp_path / "note"
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.settimeout(20)
    client.connect(streaming.endpoint)
    count, size = 200, 100_000  # 20 MB, more than all buffers on the way
    with client:
        client.sendall(
            post(
                "/predictions/stream",
                order(count=count, size=size, note=str(note)),
                JSON,
                "Connection: close",
            )
        )
        sent = Path(f"{note}.sent")
        progress = []

        def is_held_up():
            """Whether nothing has moved during the last twenty looks."""
            progress.append(int(sent.read_text() or 0))
            return len(progress) > 20 and progress[-20] == progress[-1]

        eventually(is_held_up, "the handler waits for its client", 20)
        assert 0 < progress[-1] < count / 2
        for number in range(20):
            assert streaming.predict("echo", b"%d" % number, timeout=2).status_code == 200

        answer = read_all(client)

    assert answer.count(b"x") >= count * size
    assert answer.endswith(b"end\n\r\n0\r\n\r\n")
    eventually(lambda: sent.read_text() == str(count), "the handler sent all of it")


def test_a_held_up_stream_is_not_taken_for_a_hanging_handler(streaming):
    """The response timeout of one second must not count the time that the client takes."""
    pids = streaming.wait_ready("short")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.settimeout(20)
    client.connect(streaming.endpoint)
    with client:
        body = order(count=200, size=100_000)
        client.sendall(post("/predictions/short", body, JSON, "Connection: close"))
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 2.5, "twice the limit has passed", 5)

        answer = read_all(client)

    assert answer.endswith(b"end\n\r\n0\r\n\r\n")
    assert streaming.ready_workers("short") == pids


def test_a_stream_longer_than_the_response_timeout_goes_on_while_pieces_come(streaming):
    answer = streaming.predict("short", {"count": 8, "pause": 0.3})

    assert answer.text.endswith("end\n")


def test_server_sent_events(streaming):
    answer = streaming.predict(
        "stream", {"count": 2, "text": "line-{}"}, headers={"Accept": "text/event-stream"}
    )

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = [event for event in answer.text.split("\n\n") if event]
    assert events[:2] == ["data: line-0", "data: line-1"]
    assert events[2].startswith("data: end")


def test_a_stream_over_http_1_0_ends_with_its_connection(streaming):
    with connect(streaming.endpoint) as client:
        client.sendall(post("/predictions/stream", order(count=3), JSON, version="1.0"))

        head, _, body = read_all(client).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head.lower()
    assert body == b"part-0\npart-1\npart-2\nend\n"


def test_an_error_in_mid_stream_is_an_error_for_http_client(streaming):
    connection = http.client.HTTPConnection(*streaming.endpoint, timeout=10)
    connection.request(
        "POST",
        "/predictions/stream",
        order(count=2, fail=True),
        {"Content-Type": "application/json"},
    )
    answer = connection.getresponse()

    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()


def test_an_error_in_mid_stream_is_an_error_for_requests(streaming):
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        streaming.predict("stream", {"count": 2, "fail": True})


def test_an_error_in_mid_stream_resets_an_http_1_0_client(streaming):
    with connect(streaming.endpoint) as client:
        client.sendall(
            post("/predictions/stream", order(count=2, pause=0.1, fail=True), JSON, version="1.0")
        )

        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_an_error_in_mid_stream_is_an_event_for_event_sources(streaming):
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        streaming.predict(
            "stream", {"count": 1, "fail": True}, headers={"Accept": "text/event-stream"}
        )

    with connect(streaming.endpoint) as client:
        client.sendall(
            post(
                "/predictions/stream",
                order(count=1, fail=True),
                JSON,
                "Accept: text/event-stream",
            )
        )
        assert b"event: error\n" in read_all(client)
