"""The ceiling: httptools on uvloop and nothing else, in one process.

No server in Python on these two libraries can be quicker. It routes nothing, checks nothing and
calls no model, so the distance to it is what a server's own work costs. A stream is written at
once: that says what a client can take, not what a server could stream.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import cast

import httptools
import uvloop

from ..work import TEXT

_CHUNK = b"%x\r\n%s\r\n" % (len(TEXT), TEXT.encode())
_SMALL = 16 * 1024


class BareConnection(asyncio.Protocol):
    """Answers every complete request.

    Args:
        answer: writes a response to the pieces of a body.
    """

    def __init__(self, answer: Callable[[asyncio.Transport, list[bytes]], None]) -> None:
        self._answer = answer
        self._body: list[bytes] = []
        self._parser = httptools.HttpRequestParser(self)
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Answer."""
        self._answer(self._transport, self._body)
        self._body.clear()


def answer_echo(transport: asyncio.Transport, body: list[bytes]) -> None:
    """Write the body."""
    size = sum(map(len, body))
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
    if size < _SMALL:
        transport.write(head + b"".join(body))
    else:
        transport.writelines([head, *body])


def answer_stream(transport: asyncio.Transport, body: list[bytes]) -> None:
    """Write as many chunks as the body says."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    transport.write(head + _CHUNK * int(b"".join(body)) + b"0\r\n\r\n")


ANSWERS = {"echo": answer_echo, "stream": answer_stream}


async def serve(port: int, work: str) -> None:
    """Listen until the process is ended."""
    loop = asyncio.get_running_loop()
    answer = ANSWERS[work]
    server = await loop.create_server(
        lambda: BareConnection(answer), "127.0.0.1", port, backlog=2048
    )
    await server.serve_forever()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--work", choices=ANSWERS, default="echo")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.work))


if __name__ == "__main__":
    main()
