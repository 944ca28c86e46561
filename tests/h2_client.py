"""A client of HTTP/2 in memory: the package ``h2`` plays it, which shares no code with ours.

Import it by the bare name, as `fakes`::

    from h2_client import Play

Frames that ``h2`` would not send are made by hand, with ``raw_frame``.
"""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tsl.frontend.http2.application import Http2Limits
from tsl.frontend.http2.connection import Http2Connection
from tsl.frontend.http2.fields import encode_fields
from tsl.frontend.http2.requests import request_head

OK = encode_fields([(b":status", b"200"), (b"x", b"y")])
END = encode_fields([(b"grpc-status", b"0")])
REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/p"), (":authority", "a")]


def raw_frame(kind, flags=0, stream_id=0, payload=b""):
    """The bytes of any frame."""
    return (
        len(payload).to_bytes(3, "big")
        + bytes([kind, flags])
        + stream_id.to_bytes(4, "big")
        + payload
    )


class Request:
    """A receiver that keeps what it is told."""

    def __init__(self, stream, head):
        self.stream = stream
        self.head = head
        self.body = b""
        self.is_complete = False
        self.was_reset = None
        self.drains = 0

    def data(self, data, is_last):
        assert not self.is_complete, "data behind the end"
        assert self.was_reset is None, "data behind a reset"
        self.body += data
        self.is_complete = is_last

    def reset(self, code):
        assert self.was_reset is None
        self.was_reset = code

    def drained(self):
        self.drains += 1


class App:
    """Keeps requests; answers them if told how."""

    def __init__(self):
        self.requests = []
        self.heads = 0

    def head(self, fields):
        self.heads += 1
        return request_head(fields)

    def open(self, stream, head):
        request = Request(stream, head)
        stream.expects = head.content_length
        self.requests.append(request)
        return request


class Play:
    """A server's connection, and a client at the other end of it.

    Attributes:
        core: the server's side.
        app: what it serves.
        client: the client's side.
        events: of the client, in order.
    """

    def __init__(self, app=None, clock=lambda: 0.0, *, start=True, **limits):
        self.now = 0.0
        self.sent = bytearray()
        self.app = app or App()
        self.core = Http2Connection(self.app, self._write, Http2Limits(**limits), clock)
        self.client = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self.events = []
        self.goaway = None
        self.core.start()
        if start:
            self.client.initiate_connection()
            self.exchange()

    def _write(self, data):
        assert data
        self.sent += data

    def exchange(self):
        """Carry bytes both ways until nobody has anything to say."""
        while True:
            to_server = self.client.data_to_send()
            if to_server:
                self.core.receive(to_server)
            to_client, self.sent = bytes(self.sent), bytearray()
            if to_client:
                self._to_client(to_client)
            if not to_client and not to_server:
                return

    def _to_client(self, data):
        for event in self.client.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.ConnectionTerminated) and self.goaway is None:
                self.goaway = event

    def feed(self, *frames):
        """Give the server bytes that the client did not make."""
        for each in frames:
            self.core.receive(each)
        sent, self.sent = bytes(self.sent), bytearray()
        frames_back = list(parse(sent))
        self.replies = frames_back
        return frames_back

    def request(self, body=b"", *, ends=True, fields=()):
        """Send a request; returns the number of its stream."""
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, [*REQUEST, *fields], end_stream=ends and not body)
        if body:
            self.client.send_data(number, body, end_stream=ends)
        self.exchange()
        return number

    def answer(self, request, body=b"", *, head=OK, trailers=END):
        """Answer a request as a whole."""
        self.core.sender.respond(request.stream, head, body, trailers)
        self.exchange()

    def of(self, kind, number=None):
        """The client's events of a kind, of one stream or all."""
        return [
            event
            for event in self.events
            if isinstance(event, kind)
            and (number is None or getattr(event, "stream_id", None) == number)
        ]

    def body(self, number):
        """What has arrived on a stream."""
        return b"".join(event.data for event in self.of(h2.events.DataReceived, number))

    def has_ended(self, number):
        """Whether the client has all of an answer."""
        return bool(self.of(h2.events.StreamEnded, number))

    def take(self, number):
        """Let the client take what has arrived: its windows open again."""
        for event in self.of(h2.events.DataReceived, number):
            if event.flow_controlled_length and not hasattr(event, "taken"):
                event.taken = True
                self.client.acknowledge_received_data(event.flow_controlled_length, number)
        self.exchange()


def parse(data):
    """The frames in some bytes: type, flags, stream, payload."""
    while data:
        size = int.from_bytes(data[:3], "big")
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]
        data = data[9 + size :]
