"""HTTPS: everything that works without encryption works with it, and handshakes are bounded."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from pathlib import Path

import pytest
import requests
import uvloop
from certificates import Identity
from fakes import RecordingStats
from serving import RunningServer, eventually, workers
from test_tokens import tsl
from wire import post, read_all, read_response

from tsl.frontend import tls_listener
from tsl.frontend.addresses import Address
from tsl.frontend.http_api.clock import Clock
from tsl.frontend.http_api.context import HttpContext, HttpLimits
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.listeners import Listener
from tsl.frontend.tls import Certificate, KeyMaterial

pytestmark = pytest.mark.e2e

JSON = "Content-Type: application/json"


def order(**values):
    return json.dumps(values).encode()


class SecureServer(RunningServer):
    """A server whose inference and management ports speak HTTPS; the latter by a key store."""

    def __init__(self, folder):
        super().__init__(folder)
        self.identity = Identity(folder)
        key, self.certificate = self.identity.write_pem()
        self.properties |= {
            "inference_address": "https://127.0.0.1:0",
            "management_address": "https://localhost:0",
            "private_key_file": key,
            "certificate_file": self.certificate,
        }

    def start_and_wait(self, *models):
        self.launch()
        self.wait_started()
        for name in models:
            eventually(
                lambda name=name: self.ask("GET", f"/v1/models/{name}").json()["ready"], name
            )
        return self

    def ask(self, method, path, **options):
        return requests.request(
            method, f"{self.inference}{path}", verify=self.certificate, timeout=10, **options
        )

    def connect(self, buffer_bytes=0):
        """A connection after its handshake, with a small receive buffer if asked for."""
        client = socket.socket()
        if buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.settimeout(20)
        client.connect(self.endpoint)
        context = ssl.create_default_context(cafile=self.certificate)
        return context.wrap_socket(client, server_hostname="localhost")


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    running = SecureServer(tmp_path_factory.mktemp("secure"))
    running.properties["max_request_size"] = "20000000"
    running.properties["max_response_size"] = "20000000"
    for name, handler in (("echo", "echo"), ("stream", "stream"), ("sleepy", "sleepy")):
        running.add(name, handler, **workers(1))
    try:
        running.start_and_wait("echo", "stream", "sleepy")
        yield running
        running.stop()
    finally:
        running.close()


def test_requests_follow_each_other_on_one_connection(secure):
    with secure.connect() as client, client.makefile("rb") as stream:
        assert client.version() == "TLSv1.3"
        assert client.selected_alpn_protocol() is None
        for number in range(20):
            body = b"x" * number
            client.sendall(post("/predictions/echo", body))
            assert read_response(stream)[2] == body
        # ...and pipelined
        client.sendall(b"".join(post("/predictions/echo", b"%d" % each) for each in range(50)))
        assert [read_response(stream)[2] for _ in range(50)] == [b"%d" % n for n in range(50)]


def test_large_bodies_travel_both_ways(secure):
    body = bytes(range(256)) * 40_000

    assert secure.ask("POST", "/predictions/echo", data=body).content == body


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(secure):
    with secure.connect() as client, client.makefile("rb") as stream:
        client.sendall(post("/predictions/echo").replace(b"Length: 0", b"Length: 20000001"))
        with contextlib.suppress(OSError):
            client.sendall(b"x" * 3_000_000)

        assert read_response(stream)[0] == 413
        assert stream.read() == b""


def test_pieces_of_a_stream_arrive_one_by_one(secure):
    body = order(count=5, pause=0.1)

    with secure.ask(
        "POST",
        "/predictions/stream",
        data=body,
        headers={"Content-Type": "application/json"},
        stream=True,
    ) as answer:
        moments = [time.monotonic() for _ in answer.iter_content(None)]

    assert len(moments) == 6
    assert moments[-1] - moments[0] > 0.4


def test_a_slow_reader_holds_the_handler_up(secure, tmp_path):
    note = tmp_path / "note"
    sent = Path(f"{note}.sent")
    count, size = 200, 100_000  # 20 MB, more than all buffers on the way
    progress = []

    def is_held_up():
        """Whether nothing has moved during the last twenty looks."""
        progress.append(int(sent.read_text() or 0))
        return len(progress) > 20 and progress[-20] == progress[-1]

    with secure.connect(16_384) as client:
        body = order(count=count, size=size, note=str(note))
        client.sendall(post("/predictions/stream", body, JSON, "Connection: close"))
        eventually(is_held_up, "the handler waits for its client", 20)
        assert 0 < progress[-1] < count / 2
        assert secure.ask("POST", "/predictions/echo", data=b"x").content == b"x"

        answer = read_all(client)

    assert answer.count(b"x") >= count * size
    assert answer.endswith(b"end\n\r\n0\r\n\r\n")


def test_a_large_last_answer_reaches_a_slow_client_whole(secure):
    """Its connection is being closed by the server all the while, for longer than it lingers."""
    body = b"x" * 10_000_000
    with secure.connect(16_384) as client:
        client.sendall(post("/predictions/echo", body, "Connection: close"))
        received = client.recv(1000)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 3.5, "longer than a sweep and a linger")

        received += read_all(client)

    assert received.endswith(body)


@pytest.mark.parametrize("how", ["close_notify", "fin", "reset"])
def test_a_client_that_leaves_ends_the_handler(secure, tmp_path, how):
    note = tmp_path / "note"
    client = secure.connect()
    body = order(count=1000, pause=0.02, note=str(note))
    client.sendall(post("/predictions/stream", body, JSON))
    assert client.recv(4096)

    if how == "close_notify":
        with contextlib.suppress(OSError):
            client.unwrap()
    elif how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()

    eventually(note.exists, "the handler noticed")
    assert note.read_text().startswith("ClientDisconnected after ")


def test_a_client_that_ends_its_side_has_left(secure):
    """TLS ends in both directions: there is nobody to answer, and nothing goes wrong."""
    with secure.connect() as client:
        client.sendall(post("/predictions/sleepy", order(sleep=0.3), JSON, "Connection: close"))
        with contextlib.suppress(OSError):
            client.unwrap()

    eventually(lambda: " 499 " in secure.log("access_log.log"), "it is logged as one that left")
    assert "has no effect when using ssl" not in secure.output()


def test_plain_http_is_told_what_is_wrong(secure):
    host, port = secure.endpoint

    answer = requests.post(f"http://{host}:{port}/predictions/echo", data=b"x" * 99_999, timeout=10)

    assert answer.status_code == 403
    assert answer.json()["status"] == answer.json()["message"]
    assert "HTTPS" in answer.json()["status"]


@pytest.mark.parametrize("first", [b"", b"\x16", b"\x16\x03\x01\x00\x05hello", b"\0" * 100])
def test_what_is_no_handshake_does_no_harm(secure, first):
    with socket.create_connection(secure.endpoint, timeout=10) as client:
        client.sendall(first)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            read_all(client)

    assert secure.ask("GET", "/ping").status_code == 200
    assert "Traceback" not in secure.output()


def test_the_commands_speak_it_too(secure):
    code, output, _ = tsl(secure, "status")

    assert code == 0
    assert "inference https://127.0.0.1:" in output


def test_a_renewed_certificate_is_used_without_a_restart(secure):
    renewed = Identity(secure.folder, "server")
    renewed.write_pem()

    def is_new():
        with secure.connect() as client:
            return client.getpeercert(binary_form=True) == renewed.der

    eventually(is_new, "the new certificate is used")


def test_a_stop_lets_clients_have_their_answers(tmp_path_factory):
    server = SecureServer(tmp_path_factory.mktemp("stopping"))
    server.properties |= {
        "keystore": server.identity.write_pkcs12(b"sesame"),
        "keystore_pass": "sesame",
    }
    server.add("echo", "echo", **workers(1))
    server.add("sleepy", "sleepy", **workers(1))
    body = b"x" * 6_000_000
    try:
        server.start_and_wait("echo", "sleepy")
        endpoint = server.endpoint
        with (
            server.connect() as idle,
            server.connect() as waiting,
            server.connect(16_384) as slow,
            waiting.makefile("rb") as stream,
        ):
            slow.sendall(post("/predictions/echo", body))
            received = slow.recv(1000)
            waiting.sendall(post("/predictions/sleepy", order(sleep=0.5), JSON))
            url = f"{server.management}/models/sleepy"
            eventually(
                lambda: (
                    any("sleepy" in line for line in Path(server.console).read_text().splitlines())
                    and requests.get(url, verify=server.certificate, timeout=5).ok
                ),
                "it has been accepted",
            )

            server.send_signal()

            status, head, _ = read_response(stream)
            assert status == 200
            assert b"connection: close" in head.lower()
            received += read_all(slow)
            assert received.endswith(body)
            assert read_all(idle) == b""
        assert server.wait_ended() == 0
        server.assert_nothing_is_left(endpoint)
    finally:
        server.close()


# -- the listener by itself --------------------------------------------------------------------------


@pytest.fixture
def listener(tmp_path):
    """A listener with TLS that answers 200, and a certificate for its clients."""
    key, pem = Identity(tmp_path).write_pem()
    tls = Certificate(KeyMaterial(private_key_file=key, certificate_file=pem)).context
    route = Route(path="/", methods={"*": lambda exchange, _: exchange.respond(b"hi", 200)})
    context = HttpContext(
        router=Router([route]),
        limits=HttpLimits(),
        clock=Clock(),
        stats=RecordingStats(),
        access_log=None,
        connections=set(),
    )
    made = Listener(Address(scheme="https", host="127.0.0.1", port=0), context, tls)
    made.bind()
    yield made, ssl.create_default_context(cafile=pem)
    made.close()


async def hello(endpoint, tls):
    reader, writer = await asyncio.open_connection(*endpoint, ssl=tls, server_hostname="localhost")
    writer.write(post("/"))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.split(b"\r\n")[0]


def play(scenario):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario())


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_handshake_that_does_not_go_on_is_dropped(listener, monkeypatch, sent):
    served, tls = listener
    monkeypatch.setattr(tls_listener, "HANDSHAKE_S", 0.5)

    async def scenario():
        await served.open()
        endpoint = (served.address.host, served.address.port)
        reader, writer = await asyncio.open_connection(*endpoint)
        writer.write(sent)
        answered = await hello(endpoint, tls)  # others do not wait for it
        try:
            rest = await asyncio.wait_for(reader.read(), 10)
        except ConnectionResetError:
            rest = b""
        writer.close()
        served.close()
        return answered, rest

    assert play(scenario) == (b"HTTP/1.1 200 OK", b"")


def test_of_too_many_handshakes_the_oldest_is_dropped(listener, monkeypatch):
    served, tls = listener
    monkeypatch.setattr(tls_listener, "MAX_HANDSHAKES", 3)

    async def scenario():
        await served.open()
        endpoint = (served.address.host, served.address.port)
        silent = [await asyncio.open_connection(*endpoint) for _ in range(3)]
        answered = await hello(endpoint, tls)
        dropped = await asyncio.wait_for(silent[0][0].read(), 10)
        others = [reader.at_eof() for reader, _ in silent[1:]]
        for _, writer in silent:
            writer.close()
        served.close()
        return answered, dropped, others

    assert play(scenario) == (b"HTTP/1.1 200 OK", b"", [False, False])


def test_closing_drops_handshakes(listener):
    served, tls = listener

    async def scenario():
        await served.open()
        endpoint = (served.address.host, served.address.port)
        accepted, writer = await asyncio.open_connection(*endpoint)
        await hello(endpoint, tls)  # so the one before it has been accepted
        served.close()
        ended = await asyncio.wait_for(accepted.read(), 10)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*endpoint)
        return ended

    assert play(scenario) == b""
