"""Accepting connections with TLS: the handshake comes first, the protocol after it.

uvloop's own TLS server says nothing of connections whose handshake is under way, so they could
neither be bounded nor be answered. Here a connection is looked at first: its first byte tells TLS
from plain HTTP, whose client gets an answer that it can read. Then the handshake has a few
seconds, and so many at a time; of too many, the oldest is dropped, which is most likely one that
does not go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from tsl.protocol.errors import HttpsRequired

from .http_api.messages import CLOSE, FIXED_HEADERS, JSON_TYPE, json_body, status_line

logger = logging.getLogger(__name__)

HANDSHAKE_S: Final = 10.0
MAX_HANDSHAKES: Final = 512
"""Handshakes at a time, for one listener."""
REFUSAL_S: Final = 2.0
"""How long a client of plain HTTP may take to read its refusal."""
NO_LIMIT_S: Final = 86_400.0
"""uvloop would cut off an answer that is still on its way; `HttpConnection` knows better when."""
ACCEPT_AT_ONCE: Final = 64
ACCEPT_PAUSE_S: Final = 0.5
_HANDSHAKE_RECORD: Final = b"\x16"
_READ_BYTES: Final = 64 * 1024


class ConnectionProtocol(Protocol):
    """A protocol that is told of the transport that carries TLS, too."""

    def connection_made(
        self, transport: asyncio.BaseTransport, below: asyncio.WriteTransport | None = None
    ) -> None:
        """The handshake is done."""


class TlsAcceptor:
    """Accepts the connections of one listening socket.

    Args:
        listening: the socket; closed by `close`.
        context: certificate and settings of TLS.
        new_connection: makes the protocol of a connection.
        standard_status_codes: which status clients of plain HTTP get.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        new_connection: Callable[[], ConnectionProtocol],
        *,
        standard_status_codes: bool,
    ) -> None:
        self._listening = listening
        self._context = context
        self._new_connection = new_connection
        self._refusal = _refusal(standard_status_codes=standard_status_codes)
        self._pending: dict[asyncio.Task[None], None] = {}  # in the order of their arrival
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Take no more connections, and drop those that are not through their handshake."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in list(self._pending):
            task.cancel()

    def _resume(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return  # that was all, or the client left while it was waiting
            except OSError as error:  # no descriptors left, most likely
                logger.error("Cannot accept a connection: %s", error)  # noqa: TRY400
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._resume)
                return
            self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        if len(self._pending) >= MAX_HANDSHAKES:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.cancel()
        task = self._loop.create_task(self._admit(sock))
        self._pending[task] = None
        task.add_done_callback(lambda done: self._pending.pop(done, None))

    async def _admit(self, sock: socket.socket) -> None:
        """One connection until it is its protocol's, or gone."""
        is_handed_over = False
        sock.setblocking(False)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                first = await _peek(sock)
                if first == _HANDSHAKE_RECORD:
                    is_handed_over = True
                    await self._shake_hands(sock)
                    return
            if first:
                async with asyncio.timeout(REFUSAL_S):
                    await self._refuse(sock)
        except (OSError, TimeoutError) as error:
            # Scanners, clients that do not trust the certificate, clients that left: daily life.
            logger.debug("A connection ended before its first request: %s", error)
        finally:
            if not is_handed_over:
                sock.close()

    async def _shake_hands(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        below, early = await loop.connect_accepted_socket(_Early, sock)
        # Called when `start_tls` has put TLS in the place of `early`, and before it begins.
        loop.call_soon(_feed, below, early)
        try:
            # Awaited by this task itself: a task more, and the first request would be here before
            # the connection that is to take it.
            transport = await loop.start_tls(
                below,
                _Early(),
                self._context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=NO_LIMIT_S,
            )
        except BaseException:
            below.abort()
            raise
        assert transport is not None
        connection = self._new_connection()
        transport.set_protocol(cast("asyncio.Protocol", connection))
        connection.connection_made(transport, below)

    async def _refuse(self, sock: socket.socket) -> None:
        """Answer plain HTTP with plain HTTP, and close so that the client can read it."""
        loop = asyncio.get_running_loop()
        await loop.sock_recv(sock, _READ_BYTES)
        await loop.sock_sendall(sock, self._refusal)
        sock.shutdown(socket.SHUT_WR)
        while await loop.sock_recv(sock, _READ_BYTES):
            pass


class _Early(asyncio.Protocol):
    """Stands in for the protocol to come, and keeps what arrives before that is there.

    A transport reads from its first moment on; `start_tls` can be called only after that.
    """

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


def _feed(transport: asyncio.Transport, early: _Early) -> None:
    """Hand data to a transport's present protocol, as the transport does it."""
    protocol, data = cast("asyncio.BufferedProtocol", transport.get_protocol()), early.data
    while data and not transport.is_closing():
        buffer = memoryview(protocol.get_buffer(len(data)))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


async def _peek(sock: socket.socket) -> bytes:
    """The first byte, left where it is; none if the client has left."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def notice() -> None:
        if not arrived.done():
            arrived.set_result(None)

    loop.add_reader(sock, notice)
    try:
        await arrived
    finally:
        loop.remove_reader(sock)
    with contextlib.suppress(BlockingIOError):
        return sock.recv(1, socket.MSG_PEEK)
    return b""


def _refusal(*, standard_status_codes: bool) -> bytes:
    error = HttpsRequired()
    status = error.status(standard=standard_status_codes)
    # `status` is TorchServe's whole answer here.
    document: dict[str, Any] = {"code": status, "type": error.type_name, "message": str(error)}
    body = json_body({**document, "status": str(error)})
    length = b"content-length: %d\r\n" % len(body)
    return b"".join((status_line(status), JSON_TYPE, FIXED_HEADERS, length, CLOSE, body))
