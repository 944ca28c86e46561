"""What a peer has told of itself."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from .codes import ConnectionFault, ErrorCode
from .frames import (
    DEFAULT_WINDOW,
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_BYTES,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
)

_entries = Struct(">HL").iter_unpack
_LARGEST_FRAME = 2**24 - 1


class PeerSettings:
    """The settings of the peer that a server has to heed; it may ignore all others.

    Attributes:
        window: of its new streams, bytes.
        max_frame: payload of a frame that it takes, bytes.
    """

    __slots__ = ("max_frame", "window")

    def __init__(self) -> None:
        self.window = DEFAULT_WINDOW
        self.max_frame = MAX_FRAME_BYTES

    def apply(self, payload: bytes) -> None:
        """Take the settings of a frame.

        Raises:
            ConnectionFault: a value is out of its range.
        """
        entries: Iterator[tuple[int, int]] = _entries(payload)
        for name, value in entries:
            if name == INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "window too large")
                self.window = value
            elif name == MAX_FRAME_SIZE:
                if not MAX_FRAME_BYTES <= value <= _LARGEST_FRAME:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE")
                self.max_frame = min(value, 4 * MAX_FRAME_BYTES)
            elif name == ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH")
