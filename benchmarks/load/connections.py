"""Connections that are opened, used once and left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

_AT_ONCE: Final = 100


class Connections:
    """Open connections to one server.

    Args:
        host: its address.
        port: its port.
        path: request target.
        body: of the one request of each.
    """

    def __init__(self, host: str, port: int, path: str, body: bytes) -> None:
        self._host = host
        self._port = port
        self._path = path
        self._body = body
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self, count: int, headers: Mapping[str, str]) -> None:
        """Open so many more.

        Raises:
            SystemExit: an answer is not 200.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\n{lines}"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        )
        request = head.encode("ascii") + self._body
        for start in range(0, count, _AT_ONCE):
            await asyncio.gather(
                *(self._open_one(request) for _ in range(start, min(count, start + _AT_ONCE)))
            )

    async def _open_one(self, request: bytes) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self._open.append((reader, writer))
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"wrong answer: {head!r}")
        await read_body(reader, head)

    async def check_alive(self) -> None:
        """Nobody has closed one.

        Raises:
            SystemExit: the server has.
        """
        gone = sum(reader.at_eof() for reader, _ in self._open)
        if gone:
            raise SystemExit(f"the server has closed {gone} of {len(self._open)} connections")

    async def close(self) -> None:
        """Close all of them."""
        for _, writer in self._open:
            writer.close()
        await asyncio.gather(
            *(writer.wait_closed() for _, writer in self._open), return_exceptions=True
        )
        self._open.clear()


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The body that belongs to a response's head, with its framing if it is chunked."""
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return await reader.readexactly(int(value))
        if name == b"transfer-encoding":
            return await reader.readuntil(b"0\r\n\r\n")
    return b""
