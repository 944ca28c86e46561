"""One client connection on asyncio: bytes to and from `Http2Connection`, and its time limits.

All limits of time are looked at once a second, by `sweep`; there is no timer for a connection or a
stream. While the client does not take what it is sent, nothing is read from it either: so what
it can make this side write is bounded, too.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import uniform
from typing import Any, Final, cast

from ..loop_turn import LoopTurn
from .application import Application, Http2Limits
from .codes import ErrorCode
from .connection import Http2Connection

WRITE_HIGH_BYTES: Final = 256 * 1024
HELD_BELOW_BYTES: Final = 16 * 1024
"""Smaller writes may be held until the turn of the loop is handled; others tell whether the client
is slow."""
HANDSHAKE_S: Final = 20.0
"""How long a client may take to say its preface."""
QUIET_S: Final = 300.0
"""A client that has said nothing for so long is asked whether it is still there."""
ANSWER_S: Final = 20.0
"""How long it may take to say so."""
SEEN_S: Final = 10.0
"""How long a client may take to answer the PING behind the first GOAWAY."""
LINGER_S: Final = 2.0
"""How long a connection that failed is still read, so that the client can read why."""
_HTTP_1: Final = re.compile(rb"[A-Z]{1,16} \S{1,8000} HTTP/1\.[01]\r\n")
_AGE_JITTER: Final = (0.9, 1.1)
"""Connections of one moment must not all end in one other moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Context:
    """What all connections of a listener share.

    Attributes:
        serve: makes what is served on a connection.
        limits: bounds of a connection's cost.
        connections: those that are open.
        max_connections: at most.
        max_age_s: how old a connection may get.
        max_age_grace_s: how long its streams may outlive that.
        write_s: a client that takes nothing of an answer for this long is not waited for.
        refusal: the whole answer to a request in HTTP/1.
        turn: of the event loop.
    """

    serve: Callable[[Http2Transport], Application[Any]]
    limits: Http2Limits = field(default_factory=Http2Limits)
    connections: set[Http2Transport] = field(default_factory=set)
    max_connections: int = 10_000
    max_age_s: float = math.inf
    max_age_grace_s: float = math.inf
    write_s: float = 60.0
    refusal: bytes = b""
    turn: LoopTurn = field(default_factory=LoopTurn)


class Http2Transport(asyncio.Protocol):
    """A client's connection.

    Args:
        context: what it shares with others.

    Attributes:
        core: the protocol.
        peer: the client, as logs name it.
    """

    def __init__(self, context: Http2Context) -> None:
        self.context = context
        self._turn = context.turn
        self.peer = b"unix"
        self.core: Http2Connection[Any] = cast("Http2Connection[Any]", None)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._has_begun = False
        self._has_heard = False
        self._has_ended = False
        now = time.monotonic()
        self._quiet_since = now
        self._gives_up_at = now + HANDSHAKE_S
        self._looks_for_stalls_at = math.inf
        self._leaves_at = now + context.max_age_s * uniform(*_AGE_JITTER)  # noqa: S311 - no secret
        self._refuses_at = math.inf
        self._aborts_at = math.inf

    def __repr__(self) -> str:
        return f"<Http2Transport {self.peer.decode()}>"

    # -- events of the transport -----------------------------------------------------------------

    def connection_made(
        self, transport: asyncio.BaseTransport, below: asyncio.WriteTransport | None = None
    ) -> None:
        """A client connected; beyond the limit of connections it is turned away.

        Args:
            transport: the connection.
            below: with TLS, the transport that carries it.
        """
        del below
        context = self.context
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = f"/{peer[0]}:{peer[1]}".encode("ascii", "replace")
        if len(context.connections) >= context.max_connections:
            self._transport.abort()
            return
        context.connections.add(self)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self.core = Http2Connection(context.serve(self), self._write, context.limits)
        self.core.idle = self._close_if_left
        self.core.start()

    def data_received(self, data: bytes) -> None:
        """Note it; `process` gets it when the loop has read all there is."""
        self._has_heard = True
        self._turn.add(self, data)

    def process(self, data: bytes) -> None:
        """Work on what has arrived."""
        core = self.core
        if not self._has_begun:
            self._begin(data)
        core.receive(data)
        if core.is_failed and not self._has_ended:
            self._linger()

    def _begin(self, data: bytes) -> None:
        self._has_begun = True
        if self.context.refusal and _HTTP_1.match(data):
            self.core.is_failed = True
            self._write(self.context.refusal)

    def _write(self, data: bytes) -> None:
        if len(data) < HELD_BELOW_BYTES:
            self._turn.write(self._transport, data)
        else:
            self._turn.flush()
            self._transport.write(data)

    def eof_received(self) -> bool:
        """The client has left: without it, no stream can be of use."""
        self._turn.handle()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        del exc
        self._turn.handle()
        self.context.connections.discard(self)
        if self.core is not None:
            self.core.lost()

    def pause_writing(self) -> None:
        """The client is slower than this side."""
        self.core.sender.is_writable = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._transport.resume_reading()
        sender = self.core.sender
        sender.is_writable = True
        sender.go_on()

    # -- the end, and what leads to it ------------------------------------------------------------

    def leave(self, grace_s: float, now: float | None = None) -> None:
        """Take no more streams; those that are open may go on for a time.

        Args:
            grace_s: how long.
            now: ``time.monotonic()`` seconds, if known.
        """
        self._turn.handle()
        now = time.monotonic() if now is None else now
        self.core.leave()
        self._leaves_at = math.inf
        self._refuses_at = now + SEEN_S
        self._aborts_at = min(self._aborts_at, now + grace_s)
        self._close_if_left()

    def abort(self) -> None:
        """Drop the connection now."""
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Called once a second: enforce the limits of time.

        Args:
            now: ``time.monotonic()`` seconds.
        """
        core = self.core
        if self._has_heard:
            self._turn.handle()
            self._has_heard = False
            self._quiet_since = now
            if core.has_begun:
                self._gives_up_at = math.inf
        if now >= self._aborts_at or now >= self._gives_up_at:
            self._transport.abort()
            return
        if self._has_ended:
            return
        if now >= self._leaves_at:
            self.leave(self.context.max_age_grace_s, now)
        if now >= self._refuses_at:
            self._refuses_at = math.inf
            core.refuse_new()
        if now - self._quiet_since > QUIET_S and self._gives_up_at == math.inf:
            core.control.ask()
            self._gives_up_at = now + ANSWER_S
        self._look_for_stalls(now)

    def _look_for_stalls(self, now: float) -> None:
        if not self.core.sender.waiting_bytes:
            self._looks_for_stalls_at = math.inf
        elif self._looks_for_stalls_at == math.inf:
            self.core.sender.stalled()
            self._looks_for_stalls_at = now + self.context.write_s
        elif now >= self._looks_for_stalls_at:
            self._looks_for_stalls_at = now + self.context.write_s
            if not self.core.sender.is_writable:
                self._transport.abort()
                return
            for stream in self.core.sender.stalled():
                self.core.reset(stream, ErrorCode.CANCEL)
                stream.receiver.reset(ErrorCode.CANCEL)

    def _close_if_left(self) -> None:
        core = self.core
        if core.is_leaving and core.is_refusing and not core.streams and not core.is_failed:
            core.is_failed = True
            self._linger()

    def _linger(self) -> None:
        """Close for writing, and throw away what still comes, for a moment.

        Closing at once would make the kernel reset the connection, and the client lose the reason.
        """
        self._has_ended = True
        self._aborts_at = min(self._aborts_at, time.monotonic() + LINGER_S)
        if self._transport.is_closing():
            return
        self._turn.flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
