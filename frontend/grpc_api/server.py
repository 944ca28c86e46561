"""The gRPC listeners: their addresses, limits, encryption, and how they stop."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from typing import Final

from tsl.protocol.errors import ConfigError

from ..addresses import Address
from ..http2.transport import Http2Context, Http2Transport
from ..listeners import BACKLOG, bound_socket
from ..loop_turn import LoopTurn
from ..tls_listener import TlsAcceptor
from .session import ServedMethods, Session

SWEEP_S: Final = 1.0
_TEXT: Final = b"This port speaks gRPC, which is HTTP/2. The HTTP API has another port.\n"
REFUSAL: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT)
)


class GrpcListener:
    """One address with some services.

    Args:
        name: ``inference`` or ``management``, for messages.
        host: where to listen.
        port: 0 lets the system choose.
        served: the methods.
        turn: of the event loop.
        max_connections: at a time.
        write_s: a client that takes nothing of an answer for this long is not waited for.
        max_age_ms: longest life of a connection; None for no limit.
        max_age_grace_ms: how long calls may outlive it; None for no limit.
        tls: certificate and settings; None for no encryption.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        served: ServedMethods,
        turn: LoopTurn,
        *,
        max_connections: int,
        write_s: float,
        max_age_ms: int | None = None,
        max_age_grace_ms: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self._context = Http2Context(
            serve=lambda transport: Session(served, transport),
            max_connections=max_connections,
            max_age_s=math.inf if max_age_ms is None else max_age_ms / 1000,
            max_age_grace_s=math.inf if max_age_grace_ms is None else max_age_grace_ms / 1000,
            write_s=write_s,
            refusal=REFUSAL,
            turn=turn,
        )
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._acceptor: TlsAcceptor | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """``host:port``, as gRPC clients write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    async def open(self) -> None:
        """Let clients in.

        Raises:
            ConfigError: the address is taken, or not ours.
        """
        try:
            listening = bound_socket(Address(scheme="http", host=self.host, port=self.port))
        except OSError as error:
            msg = (
                f"grpc_{self.name}_address {self.address} cannot be listened on: it is taken, "
                "or not an address of this machine."
            )
            raise ConfigError(msg) from error
        self.port = listening.getsockname()[1]
        if self._tls is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._connect, sock=listening, backlog=BACKLOG)
        else:
            self._acceptor = TlsAcceptor(
                listening, self._tls, self._connect, standard_status_codes=True
            )
        self._sweep()

    async def close(self, grace_s: float) -> None:
        """Refuse new calls, and end those that run after a time.

        Args:
            grace_s: how long they may still run.
        """
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        connections = self._context.connections
        for connection in list(connections):
            connection.leave(grace_s)
        deadline = time.monotonic() + grace_s
        while connections and time.monotonic() < deadline:  # noqa: ASYNC110 - they are only counted
            await asyncio.sleep(0.02)
        for connection in list(connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _connect(self) -> Http2Transport:
        return Http2Transport(self._context)

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in list(self._context.connections):
            connection.sweep(now)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
