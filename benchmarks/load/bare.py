"""The ceiling: httptools on uvloop and nothing else, in one process.

No server in Python on these two libraries can be quicker. It routes nothing, checks nothing and
calls no model, so the distance to it is what tsl's own work costs.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import httptools
import uvloop

from .scenarios import SMALL, STREAM_CHUNKS, STREAM_TEXT, Ceiling

_STREAM = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + (b"%x\r\n%s\r\n" % (len(STREAM_TEXT), STREAM_TEXT)) * STREAM_CHUNKS
    + b"0\r\n\r\n"
)
_SMALL = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(SMALL), SMALL)


class BareConnection(asyncio.Protocol):
    """Answers every complete request.

    Args:
        answer: the whole response; b"" to echo the request's body.
    """

    def __init__(self, answer: bytes) -> None:
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
        body = self._body
        if self._answer:
            self._transport.write(self._answer)
        else:
            size = sum(map(len, body))
            head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
            self._transport.writelines([head, *body])
        body.clear()


async def serve(port: int, ceiling: Ceiling) -> None:
    """Listen until the process is ended."""
    answer = {Ceiling.CONSTANT: _SMALL, Ceiling.ECHO: b"", Ceiling.CHUNKS: _STREAM}[ceiling]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BareConnection(answer), "127.0.0.1", port, backlog=2048
    )
    await server.serve_forever()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ceiling", type=Ceiling, default=Ceiling.CONSTANT)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.ceiling))


if __name__ == "__main__":
    main()
