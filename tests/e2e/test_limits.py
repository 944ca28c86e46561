"""Clients and surroundings that try the server's limits."""

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests
from serving import RunningServer, eventually, resident_bytes, workers
from wire import connect, post, read_all, read_response

pytestmark = pytest.mark.e2e

JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server with short time limits for clients, and few descriptors."""
    running = RunningServer(tmp_path_factory.mktemp("limits"))
    running.add("echo", "echo", **workers(1))
    running.add("stream", "stream", **workers(1))
    running.properties |= {
        "request_read_timeout": "2",
        "keep_alive_timeout": "1",
        "client_write_timeout": "1",
        "max_connections": "50",
    }
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


@pytest.mark.parametrize(
    "beginning",
    [
        b"POST /predict",
        b"POST /predictions/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nab",
    ],
    ids=["in the head", "in the body"],
)
def test_a_request_that_never_ends_is_answered_with_408(impatient, beginning):
    with connect(impatient.endpoint) as client:
        client.sendall(beginning)
        began = time.monotonic()

        answer = read_all(client)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.5 < time.monotonic() - began < 5


def test_an_idle_connection_is_closed(impatient):
    with connect(impatient.endpoint) as client, client.makefile("rb") as stream:
        client.sendall(post("/predictions/echo", b"x"))
        assert read_response(stream)[0] == 200

        assert stream.read() == b""


def test_a_client_that_takes_nothing_is_cut_off_and_its_handler_stopped(impatient, tmp_path):
    note = tmp_path / "note"
    with connect(impatient.endpoint) as client:
        order = {"count": 1000, "size": 100_000, "note": str(note)}
        client.sendall(post("/predictions/stream", json.dumps(order).encode(), JSON))

        eventually(note.exists, "the handler was told", 10)

    assert note.read_text().startswith("ClientDisconnected")


def test_connections_beyond_the_limit_are_turned_away(impatient):
    clients = [connect(impatient.endpoint) for _ in range(50)]
    try:
        clients[0].sendall(b"GET /ping HTTP/1.1\r\nHost: t\r\n\r\n")
        assert clients[0].recv(4096).startswith(b"HTTP/1.1 200 ")
        with connect(impatient.endpoint) as refused:
            assert is_cut_off(refused)
    finally:
        for client in clients:
            client.close()
    eventually(lambda: impatient.predict("echo", b"x").ok, "there is room again")


def is_cut_off(client):
    """Whether the server ends a connection without a word."""
    try:
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: t\r\n\r\n")
        return client.recv(4096) == b""
    except ConnectionError:
        return True


def test_a_worker_that_dies_in_mid_stream_breaks_the_stream(impatient):
    with impatient.predict("stream", {"count": 1000, "pause": 0.02}, stream=True) as answer:
        pieces = answer.iter_content(None)
        assert next(pieces).startswith(b"part-0")
        os.kill(impatient.wait_ready("stream")[0], signal.SIGKILL)

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(pieces)
    eventually(lambda: impatient.predict("stream", {"count": 1}).ok, "it serves again")


def test_a_server_out_of_descriptors_recovers(server):
    limit = 100
    server.add("echo", "echo", **workers(1))
    server.limits = {resource.RLIMIT_NOFILE: (limit, limit)}
    server.start()
    clients = []
    try:
        # The kernel's backlog takes what the server cannot.
        clients.extend(connect(server.endpoint) for _ in range(limit + 20))
        clients[0].sendall(post("/predictions/echo", b"still served"))
        assert clients[0].recv(4096).endswith(b"still served")
    finally:
        for client in clients:
            client.close()

    eventually(lambda: server.predict("echo", b"x", timeout=2).ok, "there is room again", 10)
    ticks = cpu_ticks(server.pid)
    eventually(lambda: server.predict("echo", b"x").ok, "it still serves")
    assert cpu_ticks(server.pid) - ticks < 50
    server.stop()


def cpu_ticks(pid):
    """CPU time a process has used, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_two_thousand_idle_connections_cost_little(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5000:
        pytest.skip("too few descriptors here")
    server.add("echo", "echo", **workers(1))
    server.start()
    before = resident_bytes(server.pid)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5000), hard))
    clients = [connect(server.endpoint) for _ in range(2000)]
    try:
        assert server.predict("echo", b"x").ok
        assert resident_bytes(server.pid) - before < 2000 * 10_000
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.stop()


def test_a_console_that_nobody_reads_does_not_stop_the_server(server):
    """The launcher holds a pipe and does not read it; it fills up after some hundred lines."""
    server.add("dying", "dying", **workers(1))
    server.add("echo", "echo", **workers(1))
    process = subprocess.Popen(
        server.command("--foreground"),
        cwd=server.folder,
        env=server.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    server.process = process
    with process.stdout:
        eventually(lambda: "is ready" in server.log("ts_log.log"), "it has started")
        server.wait_ready("dying")
        for _ in range(3):
            assert server.predict("dying", b"chatty", timeout=20).ok

        for number in range(20):
            assert server.predict("echo", b"%d" % number, timeout=2).ok
        server.send_signal()
        assert server.wait_ended() == 0
