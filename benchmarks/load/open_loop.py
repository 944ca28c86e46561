"""Requests at a fixed rate, whatever the server does: latency without coordinated omission.

A client that waits for an answer before it asks again asks less often when the server is slow,
and so leaves out the requests that would have waited. Here each request has its time (a Poisson
process with a fixed seed: the same moments for every server), and latency counts from that time,
also when no connection was free to send it.

Plain sockets and `select`: timers of event loops are whole milliseconds, and that is what a fast
server takes for ten answers.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from .samples import Load, percentiles

_SEED: Final = 20
_DRAIN_S: Final = 5.0
_READ: Final = 1 << 20


class Connection:
    """One connection with one request at a time.

    Attributes:
        socket: it.
        due_at: when its present request should have been sent.
    """

    def __init__(self, host: str, port: int, expected: bytes) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_at = 0.0
        self._expected = expected
        self._answer = bytearray()

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    def send(self, request: bytes, due_at: float) -> None:
        """Begin a request."""
        self.due_at = due_at
        self._answer.clear()
        self.socket.sendall(request)

    def receive(self) -> bool | None:
        """Read what is there.

        Returns:
            Whether the answer is right; None when it is not complete.

        Raises:
            ConnectionError: the server has closed the connection.
        """
        data = self.socket.recv(_READ)
        if not data:
            raise ConnectionError("closed by the server")
        self._answer += data
        return judge(self._answer, self._expected)


def judge(answer: bytes | bytearray, expected: bytes) -> bool | None:
    """Whether a response is right: status 200 and the expected body.

    Args:
        answer: what has come so far.
        expected: body of a right answer.

    Returns:
        None when more must come.
    """
    head, separator, body = bytes(answer).partition(b"\r\n\r\n")
    if not separator:
        return None
    if not head.startswith(b"HTTP/1.1 200 "):
        return False
    lines = head.lower().split(b"\r\n")
    if any(line.startswith(b"transfer-encoding:") for line in lines):
        return expected in body if body.endswith(b"0\r\n\r\n") else None
    lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    if len(body) < lengths[0]:
        return None
    return body == expected


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """Seconds from the beginning at which requests are due, the same ones every time."""
    chance = random.Random(_SEED)
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


class OpenLoop:
    """Sends at the times, and notes how long each request took.

    Args:
        connections: idle ones; a request waits when all are busy.
        request: head and body.

    Attributes:
        latencies: seconds of each request that was answered.
        late: seconds that the others have waited in the end; no errors, but a server too slow.
        errors: wrong answers, and connections that broke.
        elapsed_s: from the beginning to the last answer, or to the end of the patience.
    """

    def __init__(self, connections: list[Connection], request: bytes) -> None:
        self._idle = list(connections)
        self._busy: dict[int, Connection] = {}
        self._request = request
        self._waiting: deque[float] = deque()
        self.latencies: list[float] = []
        self.late: list[float] = []
        self.errors = 0
        self.elapsed_s = 0.0

    def run(self, times: Iterator[float]) -> None:
        """Until all that were due are answered, or five seconds are over after the last.

        Args:
            times: seconds from now at which requests are due, in order.
        """
        start = time.perf_counter()
        due = deque(start + at for at in times)
        last = due[-1] if due else start
        while due or self._waiting or self._busy:
            now = time.perf_counter()
            if now > last + _DRAIN_S or not (self._idle or self._busy):
                break
            while due and due[0] <= now:
                self._waiting.append(due.popleft())
            while self._waiting and self._idle:
                connection = self._idle.pop()
                connection.send(self._request, self._waiting.popleft())
                self._busy[connection.fileno()] = connection
            timeout = max(0.0, due[0] - time.perf_counter()) if due else 0.1
            for ready in select.select(self._busy.values(), (), (), timeout)[0]:
                self._finish(ready)
        end = time.perf_counter()
        self.elapsed_s = end - start
        sent = [connection.due_at for connection in self._busy.values()]
        self.late = [end - due_at for due_at in (*sent, *self._waiting, *due)]

    def _finish(self, connection: Connection) -> None:
        try:
            right = connection.receive()
        except OSError:
            right = False
            self._busy.pop(connection.fileno())
            self.errors += 1
            return  # a connection less
        if right is None:
            return
        self.latencies.append(time.perf_counter() - connection.due_at)
        self.errors += not right
        self._idle.append(self._busy.pop(connection.fileno()))


def run_open_loop(
    host: str,
    port: int,
    path: str,
    *,
    body: bytes,
    expected: bytes,
    rate: float,
    connections: int,
    seconds: float,
    headers: Mapping[str, str],
) -> Load:
    """Ask at a fixed rate.

    Args:
        host: address of the server.
        port: its port.
        path: request target.
        body: of each request.
        expected: body of each answer.
        rate: requests per second on average.
        connections: requests under way at most.
        seconds: for how long.
        headers: of each request.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    opened = [Connection(host, port, expected) for _ in range(connections)]
    loop = OpenLoop(opened, head.encode("ascii") + body)
    try:
        loop.run(arrivals(rate, seconds))
    finally:
        for connection in opened:
            connection.socket.close()
    if not loop.latencies:
        return Load(0, 0.0, 0.0, 0.0, loop.errors + 1)
    waited = [*loop.latencies, *loop.late]
    p50, p99 = percentiles(waited)
    count = len(loop.latencies)
    rate = count / max(seconds, loop.elapsed_s)
    return Load(count, rate, p50 * 1e6, p99 * 1e6, loop.errors, {"max_us": max(waited) * 1e6})
