"""What all connections of a listener share: limits, routes, clock, counters, the access log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tsl.protocol.errors import TslError

from ..loop_turn import LoopTurn
from .clock import Clock
from .known_heads import KnownHeads
from .messages import Request
from .router import Router

if TYPE_CHECKING:
    from ..jobs import Job
    from .connection import HttpConnection


class AccessLog(Protocol):
    """Takes one line per request."""

    def add(self, peer: bytes, request: Request, status: int, request_id: str) -> None:
        """Note a request whose response is complete, or whose client left."""


class Stats(Protocol):
    """Counts what happens; plain calls on the way of every request."""

    def responded(self, status: int) -> None:
        """A response was sent, whatever it was about."""

    def accepted(self, job: Job) -> None:
        """A job is about to be queued."""

    def answered(self, job: Job, status: int) -> None:
        """A model answered; for a stream, began to."""

    def streamed(self, job: Job) -> None:
        """The stream of a model came to its end."""

    def failed(self, job: Job, error: TslError) -> None:
        """A job ended without an answer, or a stream before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds of what one connection may cost.

    Attributes:
        request_line_bytes: method, target and version.
        header_bytes: all header fields of a request.
        body_bytes: body of a request; exactly so many are fine.
        keep_alive_s: an idle connection is closed after this.
        request_read_s: a head must be complete within this, and each `BODY_PROGRESS_BYTES` of
            body, too.
        client_write_s: a client that takes nothing for this long is dropped.
        linger_s: after the last response, how long to wait for the client's close.
        connections: at most, for the whole server.
        pipelined: requests of one connection that may wait for their turn.
    """

    request_line_bytes: int = 4096
    header_bytes: int = 8192
    body_bytes: int = 6_553_500
    keep_alive_s: float = 75.0
    request_read_s: float = 60.0
    client_write_s: float = 60.0
    linger_s: float = 2.0
    connections: int = 10_000
    pipelined: int = 32


class HttpContext:
    """Shared state of the connections of one listener.

    Args:
        router: its routes.
        limits: bounds.
        clock: shared with the other listeners; the server ticks it.
        stats: counters.
        access_log: None when off.
        cors: ``(name, value)`` of the configured CORS headers.
        withholds_authorization: keep the header ``Authorization`` from handlers; while tokens are on.
        standard_status_codes: answer errors with standard statuses instead of TorchServe's.
        connections: the live connections, shared with the other listeners.
        turn: of the event loop; one's own if it is not shared with the workers' channels.

    Attributes:
        plain_lines: what stands between request id and body size in the head of a plain answer.
        heads: of requests that were read before.
        is_draining: the server stops; each connection ends with the answer it waits for.
    """

    __slots__ = (
        "access_log",
        "clock",
        "connections",
        "cors",
        "cors_lines",
        "heads",
        "is_draining",
        "limits",
        "plain_lines",
        "router",
        "standard_status_codes",
        "stats",
        "turn",
        "withholds_authorization",
    )

    def __init__(
        self,
        *,
        router: Router,
        limits: HttpLimits,
        clock: Clock,
        stats: Stats,
        access_log: AccessLog | None,
        cors: Iterable[tuple[str, str]] = (),
        withholds_authorization: bool = False,
        standard_status_codes: bool = False,
        connections: set[HttpConnection],
        turn: LoopTurn | None = None,
    ) -> None:
        self.router = router
        self.limits = limits
        self.clock = clock
        self.stats = stats
        self.access_log = access_log
        self.cors_lines = {name: f"{name}: {value}\r\n".encode() for name, value in cors if value}
        self.cors = b"".join(self.cors_lines.values())
        self.withholds_authorization = withholds_authorization
        self.standard_status_codes = standard_status_codes
        self.connections = connections
        self.turn = turn or LoopTurn()
        self.heads = KnownHeads()
        self.is_draining = False
        self.plain_lines = b""
        clock.watch(self._renew)

    def _renew(self) -> None:
        self.plain_lines = b"\r\n%b%bcontent-length: " % (self.clock.headers, self.cors)
