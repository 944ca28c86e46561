"""A client and a tiny application around one `HttpConnection`, all in memory.

`HttpPlay` is the stage: ``feed`` plays the client, ``responses`` reads what came back with h11,
a strict parser, so that every test also checks the form of the responses. Import it as
``from http_client import HttpPlay`` (see `conftest`).

The application:

=============  ====================================================================
path           answer
=============  ====================================================================
``/now…``      at once: ``{"method", "target", "body", "content_type"}``
``/status/N``  at once, status N, body ``status``
``/big/N``     at once, N bytes
``/later…``    by a job, when the test calls `HttpPlay.answer` and friends
``/task``      by whoever holds ``exchanges[-1]``, as a management call does
``/refuse``    raises `QueueFull`; ``/locked`` raises `Unauthorized`
``/bug``       raises `RuntimeError`
=============  ====================================================================
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

import h11
from fakes import (
    FakeChannel,
    FakeClock,
    FakeTransport,
    RecordingAccessLog,
    RecordingStats,
    sent_job,
)

from tsl.frontend.http_api.connection import HttpConnection
from tsl.frontend.http_api.context import HttpContext, HttpLimits
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.loop_turn import LoopTurn
from tsl.protocol.errors import QueueFull, ResourceNotFound, Unauthorized
from tsl.protocol.frames import Chunk, Reply


@dataclass
class Response:
    """One response as the client sees it."""

    status: int
    phrase: bytes
    headers: list
    body: bytes
    is_complete: bool
    pieces: list

    def header(self, name):
        """Value of a header, None when absent; more than one is an error."""
        values = [value.decode("latin-1") for key, value in self.headers if key == name.encode()]
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None


class HttpPlay:
    """One client connection and the application behind it.

    Args:
        transport: a `FakeTransport` of the test's own.
        below: with TLS, the one that carries it.
        context: keyword arguments of `HttpContext` to override.
        limits: all others are limits.
    """

    def __init__(self, *, transport=None, below=None, context=None, **limits):
        self.clock = FakeClock()
        self.stats = RecordingStats()
        self.access_log = RecordingAccessLog()
        self.channel = FakeChannel()
        self.requests = []
        self.jobs = []
        self.exchanges = []
        self.connections = set()
        self._on_the_way = deque()
        given = {
            "router": Router(self._routes()),
            "limits": HttpLimits(**limits),
            "clock": self.clock,
            "stats": self.stats,
            "access_log": self.access_log,
            "connections": self.connections,
            "turn": LoopTurn(lambda handle: handle()),
        }
        self.context = HttpContext(**(given | (context or {})))
        self.connection, self.transport = self.connect(transport, below)

    def connect(self, transport=None, below=None):
        """Another connection to the same listener."""
        connection = HttpConnection(self.context)
        transport = transport or FakeTransport()
        transport.set_protocol(connection)
        connection.connection_made(transport, below)
        return connection, transport

    # -- the client ------------------------------------------------------------------------------

    def feed(self, *pieces):
        """The client sends; the kernel hands it on in these pieces, while the server reads."""
        self._on_the_way.extend(pieces)
        self.deliver()
        return self

    def deliver(self):
        """The kernel hands on what the server has not read yet."""
        while self._on_the_way and self.transport.is_reading and not self.transport.is_closing():
            self.transport.receive(self._on_the_way.popleft())

    def feed_bytewise(self, data):
        """One byte at a time."""
        return self.feed(*(data[i : i + 1] for i in range(len(data))))

    def tick(self, seconds=1.0):
        """Time passes; then the sweeper comes."""
        self.clock.advance(seconds)
        for connection in list(self.connections):
            connection.sweep(self.clock.now)
        return self

    @property
    def is_closed(self):
        """Whether the client sees the end of the stream."""
        return self.transport.is_eof_written or self.transport.is_lost

    def responses(self, methods=()):
        """All responses received so far, strictly parsed.

        Args:
            methods: of the requests, where it matters: ``"HEAD"`` has a response without body.
        """
        is_closed = self.is_closed and not self.transport.is_aborted
        return parse_responses(bytes(self.transport.sent), methods, is_closed=is_closed)

    def response(self, method="GET"):
        """The one response received so far."""
        (only,) = self.responses([method])
        return only

    # -- the application -----------------------------------------------------------------------

    def answer(self, body=b"answer", at=-1, *, status=0, phrase="", headers=()):
        """A job ends with an answer."""
        is_first = self.jobs[at].finish(Reply(status, phrase, list(headers), "", body))
        self.deliver()
        return is_first

    def chunk(self, body, at=-1, *, status=0, phrase="", headers=()):
        """A job's stream goes on."""
        return self.jobs[at].stream(Chunk(1, 0, status, phrase, list(headers), body))

    def _routes(self):
        table = {
            "/now": self._now,
            "/now/{rest...}": self._now,
            "/status/{status}": self._status,
            "/big/{size}": self._big,
            "/later": self._later,
            "/later/{rest...}": self._later,
            "/task": self._task,
            "/refuse": self._refuse,
            "/locked": self._locked,
            "/bug": self._bug,
        }
        return [Route(path=path, methods={"*": endpoint}) for path, endpoint in table.items()]

    def _now(self, exchange, params):
        del params
        request = exchange.request
        self.requests.append(request)
        exchange.respond_json(
            {
                "method": request.method.decode(),
                "target": request.target.decode("latin-1"),
                "body": request.body.decode("latin-1"),
                "content_type": request.content_type,
            }
        )

    def _status(self, exchange, params):
        if not re.fullmatch("[2-5][0-9]{2}", params["status"], re.ASCII):
            raise ResourceNotFound
        exchange.respond(b"status", int(params["status"]))

    def _big(self, exchange, params):
        if not re.fullmatch("[0-9]{1,7}", params["size"], re.ASCII):
            raise ResourceNotFound
        exchange.respond(b"x" * int(params["size"]), 200)

    def _later(self, exchange, params):
        del params
        self.requests.append(exchange.request)
        exchange.job = sent_job(exchange, self.channel, request_id=exchange.request_id)
        self.jobs.append(exchange.job)

    def _task(self, exchange, params):
        del params
        self.exchanges.append(exchange)

    def _refuse(self, exchange, params):
        raise QueueFull

    def _locked(self, exchange, params):
        raise Unauthorized

    def _bug(self, exchange, params):
        raise RuntimeError("a bug")


def parse_responses(data, methods=(), *, is_closed=True):
    """Read responses with h11, which raises on anything that is not HTTP.

    A response that has only begun comes last, with ``is_complete`` false.

    Args:
        data: all that the client has received.
        methods: of the requests, in order; GET where they end.
        is_closed: an orderly end of the stream follows.
    """
    found = []
    methods = iter(methods)
    while data:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=next(methods, "GET"), target="/", headers=[("host", "h")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        if is_closed:
            client.receive_data(b"")
        data = _read_one(client, found)
    return found


def _read_one(client, found):
    head, pieces = None, []
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError as error:
            if head is None or "without sending complete message body" not in str(error):
                raise
            event = h11.NEED_DATA
        if isinstance(event, h11.InformationalResponse):
            found.append(_response(event, [], is_complete=True))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            pieces.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            found.append(_response(head, pieces, is_complete=True))
            return client.trailing_data[0]
        else:
            if head is not None:
                found.append(_response(head, pieces, is_complete=False))
            return b""


def _response(head, pieces, *, is_complete):
    headers = list(head.headers)
    return Response(
        head.status_code, bytes(head.reason), headers, b"".join(pieces), is_complete, pieces
    )


def request(target="/now", method="GET", *, body=None, headers=(), version="1.1", host=True):
    """Bytes of one request; a body brings its Content-Length."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host:
        lines.append("Host: h")
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(target="/now", pieces=(b"abc", b"de"), *, headers=(), trailers=b"", extension=b""):
    """Bytes of one request with a chunked body."""
    head = request(target, "POST", headers=[*headers, ("Transfer-Encoding", "chunked")])
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces)
    return head + body + b"0\r\n" + trailers + b"\r\n"
