"""A client that reads streams as fast as it can, because wrk does not count chunks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final, cast

import uvloop

from .samples import Load, percentiles

_STATUS: Final = b"HTTP/1.1 200 "
_END: Final = b"\r\n0\r\n\r\n"


class StreamReader(asyncio.Protocol):
    """One client: the next request goes out when a response is complete.

    Attributes:
        durations: seconds from request to end, one per stream.
        first: seconds from request to the first chunk, one per stream.
        gaps: seconds between two chunks; those that arrive together are nothing apart.
        errors: streams with a wrong number of chunks, refusals, and lost connections.
        done: set when the connection is closed.
    """

    def __init__(self, request: bytes, text: bytes, count: int, stop_at: float) -> None:
        self._request = request
        self._text = text
        self._count = count
        self._stop_at = stop_at
        self._answer = bytearray()
        self._seen = 0
        self._scanned = 0
        self._sent_at = 0.0
        self._chunk_at = 0.0
        self._transport = cast("asyncio.Transport", None)
        self.durations: list[float] = []
        self.first: list[float] = []
        self.gaps: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first stream."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._answer.clear()
        self._seen = self._scanned = 0
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count chunks; at the end of a stream ask for the next."""
        answer = self._answer
        answer += data
        if not answer.startswith(_STATUS[: len(answer)]):
            self.errors += 1
            self._transport.abort()
            return
        now = time.perf_counter()
        self._note_chunks(now)
        if not answer.endswith(_END):
            return
        if now >= self._stop_at:
            self._transport.close()
            return
        self.durations.append(now - self._sent_at)
        self.errors += self._seen != self._count
        self._send()

    def _note_chunks(self, now: float) -> None:
        """Look at what is new; a text that is cut in two is seen when its end is there."""
        new = self._answer.count(self._text, self._scanned)
        if not new:
            return
        self._scanned = self._answer.rfind(self._text) + len(self._text)
        if self._seen:
            self.gaps.append(now - self._chunk_at)
        else:
            self.first.append(now - self._sent_at)
        self.gaps.extend([0.0] * (new - 1))
        self._seen += new
        self._chunk_at = now

    def connection_lost(self, exc: Exception | None) -> None:
        """It is an error when time is not over."""
        self.errors += exc is not None or time.perf_counter() < self._stop_at
        self.done.set_result(None)


def run_streams(
    host: str,
    port: int,
    path: str,
    *,
    body: bytes,
    text: bytes,
    count: int,
    clients: int,
    seconds: float,
    headers: Mapping[str, str],
) -> Load:
    """Ask for streams over and over.

    Args:
        host: address of the server.
        port: its port.
        path: request target.
        body: of each request.
        text: what each chunk contains, and nothing else of a response does.
        count: chunks of a right answer.
        clients: connections.
        seconds: for how long.
        headers: of each request.

    Returns:
        With chunks per second, time to the first chunk and gaps as ``extra``; a request is a stream.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    request = head.encode("ascii") + body

    async def drive() -> list[StreamReader]:
        loop = asyncio.get_running_loop()
        stop_at = time.perf_counter() + seconds
        readers = []
        for _ in range(clients):
            _, reader = await loop.create_connection(
                lambda: StreamReader(request, text, count, stop_at), host, port
            )
            readers.append(reader)
        async with asyncio.timeout(seconds + 30):
            await asyncio.gather(*(reader.done for reader in readers))
        return readers

    return summarise(uvloop.run(drive()), count, seconds)


def summarise(readers: list[StreamReader], count: int, seconds: float) -> Load:
    """What all clients saw together."""
    errors = sum(reader.errors for reader in readers)
    durations = [value for reader in readers for value in reader.durations]
    if not durations:
        return Load(0, 0.0, 0.0, 0.0, errors + 1)
    p50, p99 = percentiles(durations)
    first50, first99 = percentiles([value for reader in readers for value in reader.first])
    gap50, gap99 = percentiles([value for reader in readers for value in reader.gaps] or [0.0])
    extra = {
        "chunks": len(durations) * count / seconds,
        "first50_us": first50 * 1e6,
        "first99_us": first99 * 1e6,
        "gap50_us": gap50 * 1e6,
        "gap99_us": gap99 * 1e6,
    }
    rate = len(durations) / seconds
    return Load(len(durations), rate, p50 * 1e6, p99 * 1e6, errors, extra)
