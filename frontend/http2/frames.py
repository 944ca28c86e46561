"""Frames as bytes: their types, flags, and how those are made that a server sends."""

from __future__ import annotations

from struct import Struct
from typing import Final

from .codes import ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first."""
HEAD_BYTES: Final = 9
MAX_FRAME_BYTES: Final = 16_384
"""Payload of a frame, unless the settings say otherwise; it may not be set lower."""
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

read_head: Final = Struct(">BHBBL").unpack_from
"""Length (its high byte, its two low ones), type, flags, stream."""
_head: Final = Struct(">BHBBL").pack
_setting: Final = Struct(">HL").pack
_four: Final = Struct(">L").pack
_eight: Final = Struct(">LL").pack


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The first nine bytes of a frame."""
    return _head(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS with identifiers and their values."""
    payload = b"".join(_setting(name, value) for name, value in values.items())
    return head(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK: Final = head(0, SETTINGS, ACK, 0)


def ping(payload: bytes, *, is_ack: bool) -> bytes:
    """PING; the payload has eight bytes."""
    return head(8, PING, ACK if is_ack else 0, 0) + payload


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    """RST_STREAM."""
    return head(4, RST_STREAM, 0, stream_id) + _four(code)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return head(4, WINDOW_UPDATE, 0, stream_id) + _four(increment)


def goaway(last_stream_id: int, code: ErrorCode, text: str = "") -> bytes:
    """GOAWAY.

    Args:
        last_stream_id: the last stream that is worked on.
        code: why.
        text: for who debugs the client.
    """
    payload = _eight(last_stream_id, code) + text.encode()
    return head(len(payload), GOAWAY, 0, 0) + payload


def headers(stream_id: int, block: bytes, *, ends: bool, max_frame: int) -> bytes:
    """HEADERS, and CONTINUATION if the block is too long for one frame."""
    flags = END_STREAM if ends else 0
    if len(block) <= max_frame:
        return head(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    frames = [head(max_frame, HEADERS, flags, stream_id), block[:max_frame]]
    for at in range(max_frame, len(block), max_frame):
        piece = block[at : at + max_frame]
        is_last = at + max_frame >= len(block)
        frames += [head(len(piece), CONTINUATION, END_HEADERS if is_last else 0, stream_id), piece]
    return b"".join(frames)
