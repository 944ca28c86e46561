"""A client that reads streams as fast as it can, because wrk does not count chunks."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Final, cast

import uvloop

from .samples import Load

_STATUS: Final = b"HTTP/1.1 200 "
_END: Final = b"\r\n0\r\n\r\n"


class _Reader(asyncio.Protocol):
    """One client: the next request goes out when a response is complete."""

    def __init__(self, request: bytes, text: bytes, count: int, stop_at: float) -> None:
        self._request = request
        self._text = text
        self._count = count
        self._stop_at = stop_at
        self._answer = bytearray()
        self._sent_at = 0.0
        self._transport = cast("asyncio.Transport", None)
        self.durations: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._answer.clear()
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        answer += data
        if not answer.startswith(_STATUS[: len(answer)]):
            self.errors += 1
            self._transport.abort()
            return
        if not answer.endswith(_END):
            return
        now = time.perf_counter()
        if now >= self._stop_at:
            self._transport.close()
            return
        self.durations.append(now - self._sent_at)
        self.errors += answer.count(self._text) != self._count
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
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
    key: str = "",
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
        key: token to send, "" for none.
    """
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode("ascii") + body

    async def drive() -> list[_Reader]:
        loop = asyncio.get_running_loop()
        stop_at = time.perf_counter() + seconds
        readers = []
        for _ in range(clients):
            _, reader = await loop.create_connection(
                lambda: _Reader(request, text, count, stop_at), host, port
            )
            readers.append(reader)
        async with asyncio.timeout(seconds + 10):
            await asyncio.gather(*(reader.done for reader in readers))
        return readers

    readers = uvloop.run(drive())
    errors = sum(reader.errors for reader in readers)
    durations = [value for reader in readers for value in reader.durations]
    if len(durations) < 2:
        return Load(0, 0.0, 0.0, 0.0, errors + 1)
    hundredths = statistics.quantiles(durations, n=100, method="inclusive")
    return Load(
        len(durations),
        len(durations) / seconds,
        hundredths[49] * 1e6,
        hundredths[98] * 1e6,
        errors,
    )
