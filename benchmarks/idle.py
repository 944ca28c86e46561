"""What does an idle connection cost the front end? ``python -m benchmarks.idle``.

Opens keep-alive connections, makes one prediction on each, and leaves them alone. Reported is the
front end's own memory (USS: what would be free without it) before and after. Memory that stays after the
connections are closed is only lost when it grows again with the next ones. The kernel's part of a
connection, some kilobytes of socket, belongs to no process and is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

from . import machine
from .processes import exit_on_sigterm
from .report import measurements_table
from .server import HOST, Model, Server, serving

BODY: Final = b"hello world"
MODEL: Final = Model("b1", "echo.py")
WARM_UP_CONNECTIONS: Final = 50
AT_ONCE: Final = 100
_OTHER_FILES: Final = 200


class Clients:
    """Open connections to one server.

    Args:
        server: the server.
    """

    def __init__(self, server: Server) -> None:
        authorization = f"Authorization: Bearer {server.key()}\r\n" if server.key() else ""
        head = (
            f"POST /predictions/{MODEL.name} HTTP/1.1\r\nHost: {HOST}\r\n{authorization}"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        self._request = head.encode("ascii") + BODY
        self._port = server.port
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, count: int) -> None:
        """Open so many more, each with one prediction.

        Raises:
            SystemExit: an answer is wrong.
        """
        for start in range(0, count, AT_ONCE):
            await asyncio.gather(
                *(self._open_one() for _ in range(start, min(count, start + AT_ONCE)))
            )

    async def _open_one(self) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        self._writers.append(writer)
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(len(BODY))
        if not head.startswith(b"HTTP/1.1 200 ") or body != BODY:
            raise SystemExit(f"wrong answer: {head!r} {body!r}")

    async def close(self) -> None:
        """Close all of them."""
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers))
        self._writers.clear()


async def measure(server: Server, count: int) -> list[dict[str, Any]]:
    """Memory without and with connections, and when they are closed again."""
    process = psutil.Process(server.process.pid)
    warm_up = Clients(server)
    await warm_up.open(WARM_UP_CONNECTIONS)
    await warm_up.close()
    before = process.memory_full_info()
    clients = Clients(server)
    await clients.open(count)
    await asyncio.sleep(1.0)  # the access log is written, and the answers are forgotten
    opened = process.memory_full_info()
    if len([one for one in process.net_connections("tcp") if one.status == "ESTABLISHED"]) < count:
        raise SystemExit("the server has closed connections meanwhile")
    await clients.close()
    await asyncio.sleep(1.0)
    closed = process.memory_full_info()
    await clients.open(count)
    await asyncio.sleep(1.0)
    again = process.memory_full_info()
    await clients.close()
    mb = 1e6
    return [
        _measurement("front end, RSS", "MB", before.rss / mb),
        _measurement("front end, USS", "MB", before.uss / mb),
        _measurement(f"USS with {count} idle connections", "MB", opened.uss / mb),
        _measurement("USS after they were closed", "MB", closed.uss / mb),
        _measurement("USS when as many are open again", "MB", again.uss / mb),
        _measurement("USS per connection", "kB", (opened.uss - before.uss) / count / 1000),
    ]


def _measurement(name: str, unit: str, value: float) -> dict[str, Any]:
    return {"name": name, "unit": unit, "values": [value]}


def _raise_file_limit(count: int) -> None:
    """Let this process, and the server it starts, have so many files open.

    Raises:
        SystemExit: the hard limit is lower.
    """
    wanted = count + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{count} connections need `ulimit -Hn` {wanted}; it is {hard}")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument(
        "--connections", type=int, default=2000, help="default 2000; the server takes 10000"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    exit_on_sigterm()
    _raise_file_limit(options.connections)
    document = machine.describe()
    with serving([MODEL]) as server:
        server.wait_for_answer(MODEL.name, BODY)
        document["measurements"] = uvloop.run(measure(server, options.connections))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(measurements_table(document["measurements"]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
