"""The access log: one line per request, in TorchServe's format.

``{remote} "{METHOD} {uri} {PROTOCOL}" {status} {ms}``, on request with the request's id behind it,
or as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic

from ..http_api.messages import Request


class AccessLog:
    """Formats requests as text.

    Args:
        add: takes a line.
        with_ids: whether the request's id comes behind TorchServe's fields.
    """

    __slots__ = ("_add", "_with_ids")

    def __init__(self, add: Callable[[bytes], None], *, with_ids: bool = False) -> None:
        self._add = add
        self._with_ids = with_ids

    def add(self, peer: bytes, request: Request, status: int, request_id: str) -> None:
        """Note a request whose response is complete, or whose client left (status 499)."""
        head, started = request.head, request.started_at
        text = head.log_text
        if text is None:
            line = b' "%b %b HTTP/1.%d" ' % (head.method, head.target, head.is_http_1_1)
            text = head.log_text = line
        taken_ms = int((monotonic() - started) * 1000) if started else 0
        line = b"%b%b%d %d" % (peer, text, status, taken_ms)
        self._add(line + b" " + request_id.encode() if self._with_ids else line)

    def add_call(
        self, peer: bytes, method: str, code: int, started_at: float, request_id: str
    ) -> None:
        """Note a gRPC call that has ended.

        Args:
            peer: the client.
            method: full name, ``package.Service/Method``.
            code: number of the gRPC status.
            started_at: ``time.monotonic()`` seconds.
            request_id: the call's own.
        """
        milliseconds = int((monotonic() - started_at) * 1000)
        line = b'%b "gRPC %b HTTP/2.0" %d %d' % (
            peer,
            method.encode("latin-1"),
            code,
            milliseconds,
        )
        self._add(line + b" " + request_id.encode() if self._with_ids else line)


class JsonAccessLog:
    """Formats requests as the fields of a JSON object; the log opens it.

    Args:
        add: takes a line.
    """

    __slots__ = ("_add",)

    def __init__(self, add: Callable[[bytes], None]) -> None:
        self._add = add

    def add(self, peer: bytes, request: Request, status: int, request_id: str) -> None:
        """Note a request whose response is complete, or whose client left (status 499)."""
        started = request.started_at
        fields = {
            "request_id": request_id,
            "remote": peer.decode("ascii", "replace"),
            "method": request.method.decode("latin-1"),
            "uri": request.target.decode("latin-1"),
            "protocol": f"HTTP/1.{request.is_http_1_1:d}",
            "status": status,
            "ms": round((monotonic() - started) * 1000, 3) if started else 0,
        }
        self._add(json.dumps(fields, separators=(",", ":"))[1:].encode())

    def add_call(
        self, peer: bytes, method: str, code: int, started_at: float, request_id: str
    ) -> None:
        """Note a gRPC call that has ended.

        Args:
            peer: the client.
            method: full name, ``package.Service/Method``.
            code: number of the gRPC status.
            started_at: ``time.monotonic()`` seconds.
            request_id: the call's own.
        """
        fields = {
            "request_id": request_id,
            "remote": peer.decode("ascii", "replace"),
            "method": "gRPC",
            "uri": method,
            "protocol": "HTTP/2.0",
            "status": code,
            "ms": round((monotonic() - started_at) * 1000, 3),
        }
        self._add(json.dumps(fields, separators=(",", ":"))[1:].encode())
