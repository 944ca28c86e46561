"""Frames about the connection itself: SETTINGS, PING, GOAWAY; and PRIORITY, which is ignored.

They carry nothing, and most of them have to be answered: so they come out of a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from . import frames
from .budget import Budget
from .codes import ConnectionFault, ErrorCode
from .sending import Sender
from .stream import Stream

CONTROL_FRAMES: Final = (10_000.0, 1_000.0)
"""Frames that carry nothing: at once, and per second."""
_STILL_THERE: Final = b"tsl.ask."
_LEAVING: Final = b"tsl.bye."
"""Payload of the PING behind the first GOAWAY."""


class Control:
    """Takes the frames about the connection.

    Args:
        write: takes bytes for the peer.
        sender: the sending half, which settings are about.
        streams: that are open.
        left: called when the peer has seen that this side is about to leave.
        clock: seconds.

    Attributes:
        has_settings: the peer has said its first words.
    """

    __slots__ = ("_budget", "_left", "_sender", "_streams", "_write", "has_settings")

    def __init__(
        self,
        write: Callable[[bytes], object],
        sender: Sender,
        streams: Mapping[int, Stream],
        left: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._write = write
        self._sender = sender
        self._streams = streams
        self._left = left
        self._budget = Budget(*CONTROL_FRAMES, clock)
        self.has_settings = False

    def ask(self) -> None:
        """Make a peer that is still there say something."""
        self._write(frames.ping(_STILL_THERE, is_ack=False))

    def announce_leaving(self) -> None:
        """Ask the peer to open no more streams, and to say when it has read that."""
        self._write(frames.goaway(frames.MAX_WINDOW, ErrorCode.NO_ERROR))
        self._write(frames.ping(_LEAVING, is_ack=False))

    def count(self) -> None:
        """A frame without content came.

        Raises:
            ConnectionFault: one too many.
        """
        if not self._budget.spend():
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without content")

    def settings(self, flags: int, number: int, payload: bytes) -> None:
        """SETTINGS: the peer's, or its acknowledgement of ours.

        Raises:
            ConnectionFault: they are no settings, or their values cannot be.
        """
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        is_ack = flags & frames.ACK
        if len(payload) % 6 or (is_ack and payload):
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS")
        if is_ack and not self.has_settings:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS expected")
        self.count()
        self.has_settings = True
        if is_ack:
            return
        peer = self._sender.peer
        before = peer.window
        peer.apply(payload)
        self._write(frames.SETTINGS_ACK)
        if peer.window != before:
            self._widen(peer.window - before)

    def _widen(self, by: int) -> None:
        """The window of all streams has changed, also of those that are open."""
        for stream in self._streams.values():
            stream.send_window += by
            if stream.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "window too large")
        self._sender.look_again()

    def ping(self, flags: int, number: int, payload: bytes) -> None:
        """PING, or the answer to ours.

        Raises:
            ConnectionFault: it is malformed, or one too many.
        """
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING")
        self.count()
        if not flags & frames.ACK:
            self._write(frames.ping(payload, is_ack=True))
        elif payload == _LEAVING:
            self._left()

    def goaway(self, flags: int, number: int, payload: bytes) -> None:
        """GOAWAY: the client opens no more streams; those that are open go on.

        Raises:
            ConnectionFault: it is malformed, or one too many.
        """
        del flags
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY")
        self.count()

    def priority(self, flags: int, number: int, payload: bytes) -> None:
        """PRIORITY, without effect.

        Raises:
            ConnectionFault: it is malformed, or one too many.
        """
        del flags
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY")
        self.count()
