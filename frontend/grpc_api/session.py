"""What is served on one connection: streams become calls of methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from ..http2.codes import ErrorCode
from ..http2.fields import Fields
from ..http2.stream import Receiver, Stream
from ..http_api.request_ids import new_request_id
from .call import Call
from .codes import StatusCode
from .service import Method
from .wire import CallHead, call_head, trailers_only

if TYPE_CHECKING:
    from ..http2.sending import Sender
    from ..http2.transport import Http2Transport


class CallLog(Protocol):
    """Takes one line per call."""

    def add_call(
        self, peer: bytes, method: str, code: int, started_at: float, request_id: str
    ) -> None:
        """Note a call that has ended.

        Args:
            peer: the client.
            method: full name, ``package.Service/Method``.
            code: number of the gRPC status.
            started_at: ``time.monotonic()`` seconds.
            request_id: the call's own.
        """


MAX_LOGGED_BYTES = 1024
"""Of the name of a method that does not exist."""

Guard = Callable[[bytes, bytes], None]
"""Lets a call pass: takes the ``authorization`` of its metadata, and the peer.

Raises `TslError` for one that may not.
"""


class ServedMethods:
    """What all sessions of a listener share.

    Args:
        guarded: methods that need a token, by path.
        open_to_all: those that do not.
        guard: checks tokens; None when they are off.
        log: the access log; None when it is off.
        max_message_bytes: of a request, uncompressed.
        max_metadata_bytes: all fields of a call's head.
    """

    def __init__(
        self,
        guarded: Mapping[bytes, Method],
        open_to_all: Mapping[bytes, Method],
        *,
        guard: Guard | None,
        log: CallLog | None,
        max_message_bytes: int,
        max_metadata_bytes: int,
    ) -> None:
        self.methods = {**guarded, **open_to_all}
        self.free = frozenset(open_to_all.values())
        self.guard = guard
        self.log = log
        self.max_message_bytes = max_message_bytes
        self.max_metadata_bytes = max_metadata_bytes


class Session:
    """The calls of one connection; the `Application` of its `Http2Connection`.

    Args:
        served: what is shared.
        transport: the connection.

    Attributes:
        max_message_bytes: of a request, uncompressed.
    """

    def __init__(self, served: ServedMethods, transport: Http2Transport) -> None:
        self._served = served
        self._transport = transport
        self.max_message_bytes = served.max_message_bytes

    @property
    def peer(self) -> bytes:
        """The client's address."""
        return self._transport.peer

    @property
    def sender(self) -> Sender:
        """Takes what is answered."""
        return self._transport.core.sender

    def head(self, fields: Fields) -> CallHead:
        """A call's head; equal calls share it.

        Raises:
            StreamFault: it is malformed.
        """
        return call_head(fields, self._served.max_metadata_bytes)

    def open(self, stream: Stream, head: CallHead) -> Receiver:
        """A call begins."""
        served = self._served
        stream.expects = head.content_length
        if head.refusal is not None:
            self.sender.end(stream, head.refusal)
            return _REFUSED
        method = served.methods.get(head.path)
        if method is None:
            return self._unknown(stream, head)
        call = Call(self, stream, method, head)
        try:
            if served.guard is not None and method not in served.free:
                served.guard(head.authorization, self._transport.peer)
            if head.error is not None:
                raise head.error
            call.begin()
        except Exception as error:
            call.fail(error)
        return call

    def want(self, stream: Stream, missing: int) -> None:
        """Let the client go on with a stream; see `Windows.want`."""
        self._transport.core.windows.want(stream, missing)

    def release(self, stream: Stream) -> None:
        """A stream's message is complete; see `Windows.release`."""
        if stream.reserved:
            self._transport.core.windows.release(stream)

    def ended(self, call: Call, method: Method, code: StatusCode, started_at: float) -> None:
        """A call has ended."""
        log = self._served.log
        if log is not None:
            log.add_call(self._transport.peer, method.name, code, started_at, call.request_id)

    def _unknown(self, stream: Stream, head: CallHead) -> Receiver:
        """No such method. Tools try newer names first, and know this answer."""
        served = self._served
        code, text = StatusCode.UNIMPLEMENTED, "There is no such method here."
        if served.log is not None:
            name = head.path[:MAX_LOGGED_BYTES].decode("latin-1").removeprefix("/")
            now, peer = time.monotonic(), self._transport.peer
            served.log.add_call(peer, name, code, now, new_request_id())
        self.sender.end(stream, trailers_only(code, text))
        return _REFUSED


class _Refused:
    """Receives what a client still sends for a call that was answered before it began."""

    def data(self, data: bytes, is_last: bool) -> None:
        """Nobody wants it."""

    def reset(self, code: ErrorCode) -> None:
        """Nobody minds."""

    def drained(self) -> None:
        """Nothing waits."""


_REFUSED = _Refused()
