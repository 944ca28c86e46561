"""Header blocks in pieces: HEADERS, and the CONTINUATION frames that must follow at once."""

from __future__ import annotations

from typing import Final, NamedTuple

from . import frames
from .codes import ConnectionFault, ErrorCode

MAX_BLOCK_BYTES: Final = 64 * 1024
"""A header block, compressed."""
MAX_BLOCK_FRAMES: Final = 16
"""Frames of a header block that is spread over several."""


class Block(NamedTuple):
    """A complete header block.

    Attributes:
        data: compressed.
        ends: whether nothing comes behind it on its stream.
    """

    data: bytes
    ends: bool


class HeaderBlocks:
    """Puts header blocks together.

    Attributes:
        stream_id: the stream whose block is not complete; nothing else may come. 0 for none.
    """

    __slots__ = ("_ends", "_pieces", "stream_id")

    def __init__(self) -> None:
        self.stream_id = 0
        self._pieces: list[bytes] = []
        self._ends = False

    def begin(self, flags: int, number: int, payload: bytes) -> Block | None:
        """HEADERS; returns the block when it is complete.

        Raises:
            ConnectionFault: the frame is malformed.
        """
        if flags & frames.PADDED:
            payload = unpadded(payload)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short")
            payload = payload[5:]
        ends = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            return Block(payload, ends)
        self._pieces, self.stream_id, self._ends = [payload], number, ends
        return None

    def go_on(self, flags: int, payload: bytes) -> Block | None:
        """CONTINUATION; returns the block when it is complete.

        Raises:
            ConnectionFault: there is nothing to be continued, or too much of it.
        """
        pieces = self._pieces
        if not self.stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "unexpected CONTINUATION")
        pieces.append(payload)
        if len(pieces) > MAX_BLOCK_FRAMES or sum(map(len, pieces)) > MAX_BLOCK_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if not flags & frames.END_HEADERS:
            return None
        self._pieces, self.stream_id = [], 0
        return Block(b"".join(pieces), self._ends)


def unpadded(payload: bytes) -> bytes:
    """The payload of a padded frame without its padding.

    Raises:
        ConnectionFault: there is more padding than payload.
    """
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "no padding length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - padding]
