"""From which size on is a vectored write cheaper than joining head and body?

Three places decide this by a constant: ``JOIN_BELOW_BYTES`` of the front end's
``worker_channel.py`` and ``http_api/connection.py``, which write to a uvloop transport, and
``JOIN_BYTES`` of the worker's ``connection.py``, which writes to a blocking socket. Both kinds are
measured here on socket pairs: a head of 200 bytes, and a body of the size in the table. Each time
includes reading the bytes at the other end, which is the same for both ways.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from ..report import table

HEAD: Final = b"h" * 200
SIZES: Final = tuple(256 << n for n in range(11))
REPEATS: Final = 30
CYCLES: Final = 100
_BUFFER_BYTES: Final = 1 << 20


def main() -> None:
    """Print both tables."""
    columns = ["body", "join, µs", "vector, µs", "cheaper"]
    print("uvloop transport: `write(b''.join(…))` or `writelines(…)`\n")
    print(table(columns, [_row(size, *uvloop.run(_transport_times(size))) for size in SIZES]))
    print("\nblocking socket: `sendall(b''.join(…))` or `sendmsg(…)`\n")
    print(table(columns, [_row(size, *_socket_times(size)) for size in SIZES]))


def _row(size: int, join_us: float, vector_us: float) -> list[str]:
    cheaper = "join" if join_us < vector_us else "vector"
    return [f"{size:,} B", f"{join_us:.2f}", f"{vector_us:.2f}", cheaper]


def _pair() -> tuple[socket.socket, socket.socket]:
    left, right = socket.socketpair()
    for one in (left, right):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return left, right


async def _transport_times(size: int) -> tuple[float, float]:
    left, right = _pair()
    right.setblocking(False)
    body, into = bytes(size), bytearray(_BUFFER_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)

    async def cycle(write: Callable[[], None]) -> None:
        write()
        missing = len(HEAD) + size
        while missing:
            await asyncio.sleep(0)  # uvloop writes at the end of the loop's turn
            try:
                missing -= right.recv_into(into)
            except BlockingIOError:
                continue

    try:
        return await _best_of_both(
            lambda: cycle(lambda: transport.write(b"".join((HEAD, body)))),
            lambda: cycle(lambda: transport.writelines((HEAD, body))),
        )
    finally:
        transport.close()
        right.close()


async def _best_of_both(
    first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]]
) -> tuple[float, float]:
    """Least time per cycle of each, in microseconds; measured by turns."""
    best = [float("inf"), float("inf")]
    for _ in range(REPEATS):
        for which, cycle in enumerate((first, second)):
            started = time.perf_counter()
            for _ in range(CYCLES):
                await cycle()
            best[which] = min(best[which], time.perf_counter() - started)
    return best[0] / CYCLES * 1e6, best[1] / CYCLES * 1e6


def _socket_times(size: int) -> tuple[float, float]:
    body, into = bytes(size), bytearray(_BUFFER_BYTES)
    left, right = _pair()

    def drain() -> None:
        missing = len(HEAD) + size
        while missing:
            missing -= right.recv_into(into)

    async def join() -> None:
        left.sendall(b"".join((HEAD, body)))
        drain()

    async def vector() -> None:
        sent = left.sendmsg((HEAD, body))
        assert sent == len(HEAD) + size, "the socket's buffer is too small for this size"
        drain()

    with left, right:
        return asyncio.run(_best_of_both(join, vector))


if __name__ == "__main__":
    main()
