"""What the peer may still send: the windows of this side.

The connection's window is wide and always opened again: its data is taken at once, and bounded by
the windows of streams. A stream has a window that most requests fit in, so they cost no
WINDOW_UPDATE at all. One with a larger message is granted all of it at once. Such grants come out
of a reserve; when that is used up, streams wait for their turn, but the one that has a grant can
always be completed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import frames
from .codes import ConnectionFault, ErrorCode
from .stream import Stream

CONNECTION_WINDOW: Final = 16 * 1024 * 1024


class Windows:
    """The windows of a connection's receiving side.

    Args:
        write: takes bytes for the peer.
        window_bytes: of a stream.
        reserve_bytes: what may be granted beyond that, for all streams together.
    """

    __slots__ = ("_hungry", "_left", "_reserve_bytes", "_reserved", "_window_bytes", "_write")

    def __init__(
        self, write: Callable[[bytes], object], window_bytes: int, reserve_bytes: int
    ) -> None:
        self._write = write
        self._window_bytes = window_bytes
        self._reserve_bytes = reserve_bytes
        self._reserved = 0
        self._left = CONNECTION_WINDOW
        self._hungry: dict[int, tuple[Stream, int]] = {}

    def start(self) -> None:
        """Open the connection's window."""
        self._write(frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW))

    def took(self, size: int) -> None:
        """Some data arrived on the connection.

        Raises:
            ConnectionFault: more than it had room for.
        """
        self._left -= size
        if self._left < CONNECTION_WINDOW // 2:
            if self._left < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "too much data")
            self._write(frames.window_update(0, CONNECTION_WINDOW - self._left))
            self._left = CONNECTION_WINDOW

    def want(self, stream: Stream, missing: int) -> None:
        """Let the peer go on with a stream.

        Args:
            stream: its data so far has been taken.
            missing: bytes that the present message still lacks; 0 between messages.
        """
        if stream.receive_window >= (missing or self._window_bytes // 2):
            return
        beyond = missing - self._window_bytes
        if beyond > 0:
            if self._reserved and self._reserved + beyond > self._reserve_bytes:
                self._hungry[stream.id] = (stream, missing)
                return
            self._reserved += beyond
            stream.reserved += beyond
        if self._hungry:
            self._hungry.pop(stream.id, None)
        increment = max(missing, self._window_bytes) - stream.receive_window
        stream.receive_window += increment
        self._write(frames.window_update(stream.id, increment))

    def release(self, stream: Stream) -> None:
        """A stream's large message is complete, or the stream is gone: its grant is free again."""
        self._hungry.pop(stream.id, None)
        if stream.reserved:
            self._reserved -= stream.reserved
            stream.reserved = 0
            for number, (other, missing) in list(self._hungry.items()):
                del self._hungry[number]
                self.want(other, missing)
                if number in self._hungry:
                    break  # the reserve is used up again
