"""One stream: a request and its answer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .codes import ErrorCode


class Receiver(Protocol):
    """Who gets what arrives on a stream. Each method is a plain call that must not raise."""

    def data(self, data: bytes, is_last: bool) -> None:
        """Some bytes arrived, possibly none; after the last ones there are no more."""

    def reset(self, code: ErrorCode) -> None:
        """The peer left, or the stream was ended for a fault of it; nothing can be sent."""

    def drained(self) -> None:
        """What was sent has left, all or nearly all of it."""


class Stream:
    """State of a stream; `Http2Connection` and its parts are the ones to change it.

    Attributes:
        id: odd, since clients open them.
        receiver: who gets what arrives.
        receive_window: what the peer may still send, bytes.
        reserved: bytes beyond the usual window that were granted.
        send_window: what may still be sent to the peer, bytes; below zero when it took room back.
        pending: what waits for room, in order.
        pending_bytes: size of that.
        trailers: header block that ends the stream behind what is pending; None if there is none.
        expects: bytes that the request has to have by its ``content-length``; -1 for any number.
        is_moving: some of what waits has left lately.
        has_all: the peer has ended its side.
    """

    __slots__ = (
        "expects",
        "has_all",
        "id",
        "is_moving",
        "pending",
        "pending_bytes",
        "receive_window",
        "receiver",
        "reserved",
        "send_window",
        "trailers",
    )

    receiver: Receiver

    def __init__(self, stream_id: int, receive_window: int, send_window: int) -> None:
        self.id = stream_id
        self.receive_window = receive_window
        self.reserved = 0
        self.send_window = send_window
        self.pending: deque[memoryview] | None = None
        self.pending_bytes = 0
        self.trailers: bytes | None = None
        self.expects = -1
        self.is_moving = False
        self.has_all = False

    def __repr__(self) -> str:
        return f"<Stream {self.id}>"
