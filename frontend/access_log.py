"""The access log: one line per request, in TorchServe's format.

``{remote} "{METHOD} {uri} {PROTOCOL}" {status} {ms}``
"""

from __future__ import annotations

import time

from .http_api.messages import Request
from .line_log import LineLog


class AccessLog:
    """Formats requests for a `LineLog`.

    Args:
        log: where the lines go.
    """

    __slots__ = ("_add",)

    def __init__(self, log: LineLog) -> None:
        self._add = log.add

    def add(self, peer: bytes, request: Request, status: int) -> None:
        """Note a request whose response is complete, or whose client left (status 499)."""
        started = request.started_at
        milliseconds = int((time.monotonic() - started) * 1000) if started else 0
        self._add(
            b'%b "%b %b HTTP/1.%d" %d %d'
            % (peer, request.method, request.target, request.is_http_1_1, status, milliseconds)
        )
