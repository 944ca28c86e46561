"""The end of a server, by signals, at every moment of its life."""

import os
import signal
import socket

import pytest
from serving import can_connect, eventually, workers
from wire import connect, post, read_all, read_response

pytestmark = pytest.mark.e2e

JSON = "Content-Type: application/json"
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])


@BOTH
def test_an_idle_server_ends_at_once(server, number):
    server.add("echo", "echo", **workers(2))
    server.start()

    with connect(server.endpoint) as idle:
        server.stop(number)

        assert read_all(idle) == b""


@BOTH
def test_under_load_every_accepted_request_is_answered(server, load, number):
    server.add("echo", "echo", **workers(2))
    server.start()
    generator = load(server.endpoint, "/predictions/echo", 32)
    eventually(lambda: generator.answered > 1000, "load")

    generator.expects_closing = True
    server.stop(number)

    generator.finish()
    assert generator.problems == []
    assert set(generator.statuses) == {200}
    assert generator.answered == generator.sent


def test_running_and_waiting_requests_are_answered_and_new_clients_refused(server):
    server.add("sleepy", "sleepy", **workers(1))
    server.start()
    endpoint = server.endpoint
    clients = [connect(endpoint) for _ in range(4)]
    for client in clients:
        client.sendall(post("/predictions/sleepy", b'{"sleep": 0.4}', JSON))
    eventually(
        lambda: server.describe("sleepy")["jobQueueStatus"]["pendingRequests"] == 3, "3 wait"
    )

    server.send_signal()

    eventually(lambda: not can_connect(endpoint), "new clients are refused", 1)
    for client in clients:
        with client, client.makefile("rb") as stream:
            status, head, _ = read_response(stream)
            assert status == 200
            assert b"connection: close" in head.lower()
    assert server.wait_ended() == 0
    server.assert_nothing_is_left(endpoint)


def test_a_running_stream_is_finished(server):
    server.add("stream", "stream", **workers(1))
    server.start()
    endpoint = server.endpoint
    with connect(endpoint) as client:
        client.sendall(post("/predictions/stream", b'{"count": 10, "pause": 0.1}', JSON))
        received = client.recv(65536)
        assert received.startswith(b"HTTP/1.1 200 ")

        server.send_signal()

        received += read_all(client)
    assert received.endswith(b"4\r\nend\n\r\n0\r\n\r\n")
    assert received.count(b"part-") == 10
    assert server.wait_ended() == 0
    server.assert_nothing_is_left(endpoint)


def test_a_large_answer_reaches_a_slow_client_whole(server):
    server.add("echo", "echo", **workers(1))
    server.start()
    endpoint = server.endpoint
    body = b"x" * 6_000_000
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.settimeout(20)
    client.connect(endpoint)
    with client, client.makefile("rb") as stream:
        client.sendall(post("/predictions/echo", body))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.read(1)

        server.send_signal()
        eventually(lambda: not can_connect(endpoint), "the drain has begun", 2)

        assert len(stream.read(len(body))) == len(body)
    assert server.wait_ended() == 0


def test_a_client_that_has_sent_half_a_request_may_finish_it(server):
    server.add("echo", "echo", **workers(1))
    server.start()
    endpoint = server.endpoint
    request = post("/predictions/echo", b"both halves")
    with connect(endpoint) as client, client.makefile("rb") as stream:
        client.sendall(request[:-4])
        server.manage("GET", "/models")

        server.send_signal()
        eventually(lambda: not can_connect(endpoint), "the drain has begun", 2)
        client.sendall(request[-4:])

        status, _, body = read_response(stream)
    assert (status, body) == (200, b"both halves")
    assert server.wait_ended() == 0


def test_the_drain_ends_after_its_time_limit(server):
    server.add("sleepy", "sleepy", **workers(1))
    server.properties["drain_timeout"] = "1"
    server.start()
    endpoint = server.endpoint
    with connect(endpoint) as client:
        client.sendall(post("/predictions/sleepy", b'{"sleep": 60}', JSON))
        eventually(lambda: server.describe("sleepy"), "it is sent")

        server.send_signal()

        assert server.wait_ended(16) == 0
    server.assert_nothing_is_left(endpoint)


@BOTH
def test_while_a_model_is_loading(server, number):
    server.add("slow", "slow_load", load=60, **workers(2))
    server.launch()
    server.wait_started()
    eventually(lambda: list(server.temp.glob("models/*/loading")), "the handler is loading")

    server.stop(number)


def test_while_a_spawned_model_is_loading(server):
    server.add("slow", "slow_load", load=60, **workers(1, workerStart="spawn"))
    server.launch()
    server.wait_started()
    eventually(lambda: list(server.temp.glob("models/*/loading")), "the handler is loading")

    server.stop()


def test_while_a_worker_waits_for_its_restart(server):
    server.add("failing", "failing", **workers(1))
    server.launch()
    server.wait_started()
    eventually(lambda: "failing_1.0 in 1 seconds" in server.output(), "a back-off")

    server.stop()


def test_while_a_client_waits_for_a_registration(server):
    server.add("slow", "slow_load", load=60, **workers(1))
    server.properties["drain_timeout"] = "1"
    server.start(models="")
    address = server.management.removeprefix("http://").split(":")
    with connect((address[0], int(address[1]))) as client:
        client.sendall(b"POST /models?url=slow.mar&initial_workers=1 HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually(lambda: list(server.temp.glob("models/*/loading")), "the handler is loading")

        server.stop()


MOMENTS = {
    "runtime folder": lambda server: list(server.temp.glob("tsl-*")),
    "unpacking": lambda server: list(server.temp.glob("models/*")),
    "nursery": lambda server: server.nursery(),
    "workers": lambda server: len(server.members()) >= 3,
    "started": lambda server: "\nModel server started.\n" in f"\n{server.output()}",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_of_the_start_leaves_nothing_behind(server, moment):
    files = {f"part{number}": b"\0" * 5_000_000 for number in range(20)}
    server.add("big", "echo", files=files, **workers(2))
    server.launch()
    eventually(lambda: MOMENTS[moment](server), "the moment has come")

    server.send_signal()

    assert server.wait_ended() == 0, server.output()[-2000:]
    eventually(lambda: server.members() == [], "nothing of it lives", 5)
    assert list(server.temp.glob("tsl-*")) == []
    assert server.record() is None


def test_a_second_signal_does_no_harm(server):
    server.add("sleepy", "sleepy", **workers(1))
    server.start()
    endpoint = server.endpoint
    with connect(endpoint) as client, client.makefile("rb") as stream:
        client.sendall(post("/predictions/sleepy", b'{"sleep": 0.7}', JSON))
        eventually(lambda: server.describe("sleepy"), "it is sent")

        server.send_signal()
        eventually(lambda: not can_connect(endpoint), "the drain has begun")
        server.send_signal()
        server.send_signal(signal.SIGINT)

        assert read_response(stream)[0] == 200
    assert server.wait_ended() == 0
    server.assert_nothing_is_left(endpoint)


def test_a_signal_to_the_whole_group_drains_all_the_same(server):
    """Ctrl-C in a terminal, or a container's stop: workers and nursery get it, too."""
    server.add("sleepy", "sleepy", **workers(1))
    server.add("spawned", "sleepy", **workers(1, workerStart="spawn"))
    server.start()
    endpoint = server.endpoint
    with connect(endpoint) as one, connect(endpoint) as two:
        one.sendall(post("/predictions/sleepy", b'{"sleep": 0.6}', JSON))
        two.sendall(post("/predictions/spawned", b'{"sleep": 0.6}', JSON))
        eventually(lambda: server.describe("spawned"), "both are sent")

        os.killpg(server.pid, signal.SIGINT)

        for client in (one, two):
            with client.makefile("rb") as stream:
                assert read_response(stream)[0] == 200
    assert server.wait_ended() == 0
    server.assert_nothing_is_left(endpoint)


def test_what_a_killed_server_has_left_is_removed_by_the_next(server):
    server.add("echo", "echo", **workers(1))
    server.start()
    (left,) = server.temp.glob("tsl-*")
    server.send_signal(signal.SIGKILL)
    server.wait_ended()
    eventually(lambda: server.members() == [], "its workers end with it")
    assert left.is_dir()

    server.console.unlink()  # what it said is no sign of the next one
    server.start()

    (folder,) = server.temp.glob("tsl-*")
    assert folder != left
    assert str(left) in server.log("ts_log.log")
    server.stop()
