"""Clients that see every byte: one for a script of bytes, one for load from many connections."""

import asyncio
import re
import socket
from collections import Counter

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")


def post(path, body=b"", *headers, version="1.1"):
    """The bytes of a POST."""
    lines = [
        f"POST {path} HTTP/{version}",
        "Host: test",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(endpoint, timeout=30):
    """A blocking connection; ``endpoint`` is an address pair or the path of a Unix socket."""
    if isinstance(endpoint, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(endpoint)
        return sock
    sock = socket.create_connection(endpoint, timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_response(stream):
    """One response with a Content-Length from a buffered stream.

    Returns:
        Status, head and body; None at the end of the stream.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            assert not head, f"the connection ended inside of a head: {head!r}"
            return None
        head += line
    length = _LENGTH.search(head)
    body = stream.read(int(length[1])) if length else b""
    return int(head.split(b" ", 2)[1]), head, body


def read_all(sock):
    """Everything until the end of the connection."""
    data = bytearray()
    while received := sock.recv(65536):
        data += received
    return bytes(data)


class Load:
    """Constant load from many keep-alive connections in a background thread's event loop.

    Every request carries a number, which an echo model gives back: an answer that is missing,
    doubled or somebody else's is noticed.

    Args:
        endpoint: host and port.
        path: where to POST.
        connections: how many at a time.
        make_body: body for a request's number; the default is the number itself.
        check: called with number and body of a 200.

    Attributes:
        statuses: how many answers of each status came.
        problems: what must not happen, in words.
        sent: requests sent.
    """

    def __init__(self, endpoint, path, connections=64, make_body=None, check=None):
        self._endpoint = endpoint
        self._path = path
        self._connections = connections
        self._make_body = make_body or (lambda number: b"%d" % number)
        self._check = check or self._is_echo
        self.statuses = Counter()
        self.problems = []
        self.sent = 0
        self.refused = 0
        self.is_stopping = False
        self.expects_closing = False

    @property
    def answered(self):
        """Requests that have an answer."""
        return sum(self.statuses.values())

    def _is_echo(self, number, body):
        return body == b"%d" % number

    async def run(self):
        """Send until told to stop; every request is waited for."""
        await asyncio.gather(*(self._client() for _ in range(self._connections)))

    async def _client(self):
        while not self.is_stopping:
            try:
                reader, writer = await asyncio.open_connection(*self._endpoint)
            except ConnectionError:
                self.refused += 1
                if self.expects_closing:
                    return
                self.problems.append("a connection was refused")
                return
            try:
                while not self.is_stopping and await self._exchange(reader, writer):
                    pass
            finally:
                writer.close()

    async def _exchange(self, reader, writer):
        """One request and its answer; whether the connection can be used again."""
        self.sent += 1
        number = self.sent
        is_first = not hasattr(reader, "used")
        reader.used = True
        try:
            writer.write(post(self._path, self._make_body(number)))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        except TimeoutError:
            self.problems.append(f"request {number} got no answer")
            return False
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            received = getattr(error, "partial", b"")
            # A server that stops closes idle connections, and may do so just as we send.
            if not self.expects_closing or received or is_first:
                self.problems.append(f"request {number}: {error!r}")
            self.sent -= 1
            return False
        length = int(_LENGTH.search(head)[1])
        body = await reader.readexactly(length)
        status = int(head.split(b" ", 2)[1])
        self.statuses[status] += 1
        if status == 200 and not self._check(number, body):
            self.problems.append(f"request {number} was answered with {body[:100]!r}")
        return b"connection: close" not in head.lower()
