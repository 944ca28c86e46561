"""Frames to bytes and bytes to frames, with size limits.

Layout of a frame::

    u32  size of what follows these eight bytes (header and bodies)
    u32  size of the header
    msgpack array: [type number, field, …]     a body field holds the body's size instead
    body, body, …                              raw, in the order of their sizes

Requests are mostly alike, and so are answers; what repeats has a short form. A row ``[request id,
size]`` has one body named `PLAIN`, and headers, properties and media type of the last row of the
connection that had such a body and said so. A row ``[request id, size, size, …]`` has several parts, and
headers, properties, names and media types of the last row with several parts that said so. A reply that
is a number is a plain one with a body of that size; ``[size]`` is one with the headers of the last reply
of the frame that had headers and nothing else to say.

The most frequent answer, a short plain reply to a batch of one, has no msgpack at all: its header is
empty, and behind the prefix come batch id (u64), time in the handler (u32, microseconds) and body.

All numbers are big-endian. The size of the header is not strictly needed (msgpack knows its own
end), but with it the header is decoded from one exact slice by the C decoder.

Bodies are handed out as memoryviews of the buffer they arrived in: nobody copies them here. Those
of a large frame have buffers of their own, which the socket fills directly.
Nothing that arrives can do worse than a `ProtocolError`: sizes are checked before memory is
taken, types are checked before a frame exists, and msgpack is told to build plain data only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgpack

from .buffers import new_buffer
from .errors import ProtocolError
from .fields import check_pairs, decode_plain
from .frames import (
    FRAME_TYPES,
    Buffer,
    Chunk,
    Frame,
    Headers,
    Part,
    Predict,
    Reply,
    Result,
    Row,
    new_chunk,
    new_part,
    new_reply,
    new_result,
    new_row,
)

PREFIX: Final = struct.Struct(">II")
PREFIX_BYTES: Final = PREFIX.size
MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
"""Room for the HTTP headers (8 KiB each by default) of a batch of some 1 500 requests."""
MAX_BODY_BYTES: Final = 2 * 1024 * 1024 * 1024
"""Default limit for the bodies of one frame; the front end sets a tighter one."""
LARGE_FRAME_BYTES: Final = 128 * 1024
"""From this size on, the bodies of a frame are received into buffers of their own."""

SHORT_BYTES: Final = 16 * 1024
"""Bodies up to here are answered in the short form."""
_SHORT_HEAD: Final = struct.Struct(">IIQI")
_SHORT: Final = struct.Struct(">QI")
_MAX_U32: Final = 0xFFFF_FFFF

_NUMBERS: Final[dict[type[Any], int]] = {cls: n for n, cls in enumerate(FRAME_TYPES)}
_PREDICT: Final = _NUMBERS[Predict]
_RESULT: Final = _NUMBERS[Result]
_CHUNK: Final = _NUMBERS[Chunk]

PLAIN: Final = "body"
"""Name of the one part of a request that is no form."""
_NO_HEADERS: Final[list[str]] = []

_Known: TypeAlias = tuple[Headers | None, list[str] | None, str | None]
_Kinds: TypeAlias = list[tuple[str, str]]
"""Names and media types of a row's parts."""

BODIES_DO_NOT_FIT: Final = "body sizes do not fit the frame"
BYTES_LEFT_OVER: Final = "bytes left over behind the bodies"
NOT_THERE: Final = "a row like one that was not there"

_pack: Final[Callable[[object], bytes]] = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_unpack: Final = msgpack.unpackb


# -- encoding ----------------------------------------------------------------------------


def encode(frame: Frame) -> list[Buffer]:
    """Serialise a frame into buffers that are to be written one after the other.

    The first buffer is prefix and header; each further one is a body, not copied.

    Raises:
        ProtocolError: it is too large; the other side would refuse it, and with it the connection.
    """
    if isinstance(frame, Predict):
        return RowEncoder().encode(frame.batch_id, frame.rows)
    bodies: list[Buffer] = []
    if isinstance(frame, Result):
        if len(frame.replies) == 1:
            short = _encode_short(*frame)
            if short is not None:
                return short
        header = _encode_result(frame, bodies)
    elif isinstance(frame, Chunk):
        batch_id, row, status, phrase, pairs, body = frame
        header = _pack((_CHUNK, batch_id, row, status, phrase, pairs, len(body)))
        bodies.append(body)
    else:
        header = _pack((_NUMBERS[type(frame)], *frame))
    return _framed(header, bodies)


def _framed(header: bytes, bodies: list[Buffer]) -> list[Buffer]:
    """Put prefix and header before the bodies, in the same list."""
    size = len(header)
    total = size + (sum(map(len, bodies)) if len(bodies) != 1 else len(bodies[0]))
    if size > MAX_HEADER_BYTES:
        msg = f"a frame header of {size} bytes exceeds the limit of {MAX_HEADER_BYTES}"
        raise ProtocolError(msg)
    if total > 0xFFFF_FFFF:
        msg = f"a frame of {total} bytes does not fit the wire format"
        raise ProtocolError(msg)
    bodies.insert(0, PREFIX.pack(total, size) + header)
    return bodies


class RowEncoder:
    """Makes the `Predict` frames of one connection, which may refer to the ones before.

    All of a connection's must come from the same encoder, or each from a new one.
    """

    __slots__ = ("_headers", "_properties", "_several", "_type")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Refer to nothing that was sent before."""
        self._headers: Headers | None = None
        self._properties: list[str] | None = None
        self._type: str | None = None
        # Headers, properties, names and types of a row with several parts.
        self._several: tuple[object, object, object, object] = (None, None, None, None)

    def encode(self, batch_id: int, rows: Sequence[Row]) -> list[Buffer]:
        """Serialise a `Predict` frame, without making one first: this is done for every batch.

        Args:
            batch_id: of the frame.
            rows: of the frame.

        Raises:
            ProtocolError: it is too large; then it must not be sent, and the next one refers to
                nothing before.
        """
        bodies: list[Buffer] = []
        packed: list[tuple[object, ...]] = []
        known_headers, known_properties, known_type = self._headers, self._properties, self._type
        several = self._several
        for request_id, headers, properties, parts in rows:
            if len(parts) == 1:  # a plain body: the usual case
                name, content_type, body = parts[0]
                bodies.append(body)
                if (
                    headers is known_headers
                    and properties is known_properties
                    and content_type is known_type
                    and name == PLAIN
                ):
                    packed.append((request_id, len(body)))
                    continue
                packed.append((request_id, headers, properties, [(name, content_type, len(body))]))
                if name == PLAIN:
                    known_headers, known_properties, known_type = headers, properties, content_type
                continue
            if not parts:
                packed.append((request_id, headers, properties, parts))
                continue
            names, types, contents = zip(*parts, strict=True)
            bodies += contents
            sizes = map(len, contents)
            if (
                headers is several[0]
                and properties is several[1]
                and names == several[2]
                and types == several[3]
            ):
                packed.append((request_id, *sizes))
                continue
            several = headers, properties, names, types
            kinds = list(zip(names, types, sizes, strict=True))
            packed.append((request_id, headers, properties, kinds))
        self.forget()
        buffers = _framed(_pack((_PREDICT, batch_id, packed)), bodies)
        self._headers, self._properties, self._type = known_headers, known_properties, known_type
        self._several = several
        return buffers


def _encode_short(batch_id: int, service_us: int, replies: list[Reply]) -> list[Buffer] | None:
    status, phrase, headers, error, body = replies[0]
    size = len(body)
    if status or phrase or headers or error or size > SHORT_BYTES:
        return None
    return [_SHORT_HEAD.pack(_SHORT.size + size, 0, batch_id, min(service_us, _MAX_U32)), body]


def _encode_result(frame: Result, bodies: list[Buffer]) -> bytes:
    replies: list[object] = []
    said: list[str] | None = None
    for status, phrase, headers, error, body in frame.replies:
        size = len(body)
        if status or phrase or error:
            replies.append((status, phrase, headers, error, size))
        elif not headers:
            replies.append(size)
        elif headers == said:  # answers of a batch are alike
            replies.append((size,))
        else:
            replies.append((status, phrase, headers, error, size))
            said = headers
        bodies.append(body)
    return _pack((_RESULT, frame.batch_id, frame.service_us, replies))


# -- decoding ----------------------------------------------------------------------------


class FrameDecoder:
    """Incremental decoder for one direction of one connection.

    Give it whatever the socket gave; it answers with the frames that became complete. Bytes
    given whole or one at a time produce the same frames.

    When the head of a large frame has come, there is `room`: whoever reads the socket may read
    into that, and say so by `filled`. It saves two copies of each body, and nobody has to.

    Args:
        max_header_bytes: limit for the msgpack header of a frame.
        max_body_bytes: limit for the sum of a frame's bodies.
        large_bytes: from this size of a frame on, its bodies get memory of their own.

    Attributes:
        room: where the next bytes may be put; empty while there is no large frame.
    """

    __slots__ = (
        "_chunks",
        "_frame",
        "_have",
        "_known",
        "_large",
        "_max_body",
        "_max_header",
        "_need",
        "_several",
        "room",
    )

    def __init__(
        self,
        *,
        max_header_bytes: int = MAX_HEADER_BYTES,
        max_body_bytes: int = MAX_BODY_BYTES,
        large_bytes: int = LARGE_FRAME_BYTES,
    ) -> None:
        self._large = large_bytes
        self._frame: Frame | None = None  # a large one, whose bodies are not complete
        self.room: list[memoryview] = []
        self._max_header = max_header_bytes
        self._max_body = max_body_bytes
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = PREFIX_BYTES
        self._known: _Known = (None, None, None)
        self._several: tuple[Headers, list[str], _Kinds] | None = None

    @property
    def missing(self) -> int:
        """Bytes that are needed, at the least, before another frame can be complete."""
        if self._frame is not None:
            return sum(map(len, self.room))
        return self._need - self._have

    @property
    def is_empty(self) -> bool:
        """Whether no part of a frame is waiting: the only clean place for an end of stream."""
        return self._have == 0 and self._frame is None

    def feed(self, data: bytes) -> list[Frame]:
        """Take what arrived.

        Args:
            data: any number of bytes; it must not be changed afterwards.

        Returns:
            The frames completed by ``data``, in order; often one, sometimes none.

        Raises:
            ProtocolError: this is not a stream of frames; the decoder is useless afterwards.
        """
        frames: list[Frame] = []
        if self._frame is not None:
            data = self._pour(data, frames)
        if self._have:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return frames
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._have = 0
        self._need = PREFIX_BYTES
        view = memoryview(data)
        at, end = 0, len(data)
        while end - at >= PREFIX_BYTES:
            size, header_size = PREFIX.unpack_from(data, at)
            body_size = size - header_size
            if (
                body_size < 0
                or header_size > self._max_header
                or body_size > self._max_body
                or (not header_size and not _SHORT.size <= size <= _SHORT.size + SHORT_BYTES)
            ):
                raise self._refusal(size, header_size)
            body_at = at + PREFIX_BYTES + header_size
            stop = body_at + body_size
            if stop > end:
                if size < self._large or not body_size or not header_size:
                    self._need = PREFIX_BYTES + size
                elif body_at > end:
                    self._need = PREFIX_BYTES + header_size
                else:
                    self._begin_large(view[at + PREFIX_BYTES : body_at], body_size)
                    self._pour(data[body_at:], frames)
                    return frames
                break
            frames.append(self._decode(view[at + PREFIX_BYTES : body_at], view[body_at:stop]))
            at = stop
        if at < end:
            self._chunks.append(data[at:] if at else data)
            self._have = end - at
        return frames

    def filled(self, size: int) -> Frame | None:
        """The reader has put so many bytes into `room`, from its beginning on.

        Returns:
            The frame, if it is complete now.
        """
        room = self.room
        done = 0
        while done < len(room) and size >= len(room[done]):
            size -= len(room[done])
            done += 1
        del room[:done]
        if room:
            room[0] = room[0][size:]
            return None
        frame, self._frame = self._frame, None
        return frame

    def _begin_large(self, header: memoryview, body_size: int) -> None:
        """Decode a frame whose bodies are to come.

        Each body of a request has memory of its own, which can be handed to the handler. Those of
        an answer are only passed on.
        """
        bodies = _NewBodies(body_size)
        whole = memoryview(new_buffer(body_size))
        self._frame = self._decode(header, whole, bodies)
        self.room = bodies.room if type(self._frame) is Predict else [whole]

    def _pour(self, data: bytes, frames: list[Frame]) -> bytes:
        """Put what was read elsewhere into `room`; answers with what does not belong there."""
        at = 0
        for view in self.room:
            piece = data[at : at + len(view)]
            view[: len(piece)] = piece
            at += len(piece)
            if len(piece) < len(view):
                break
        frame = self.filled(at)
        if frame is not None:
            frames.append(frame)
        return data[at:]

    def _refusal(self, size: int, header_size: int) -> ProtocolError:
        if header_size > size:
            return ProtocolError("header larger than its frame")
        if header_size > self._max_header:
            msg = f"frame header of {header_size} bytes exceeds the limit of {self._max_header}"
            return ProtocolError(msg)
        if size <= self._max_body:
            return ProtocolError("a frame without a header")
        return ProtocolError(f"frame of {size} bytes exceeds the limit of {self._max_body}")

    def _decode(
        self, header: memoryview, bodies: memoryview, own: _NewBodies | None = None
    ) -> Frame:
        if not header:
            return _decode_short(bodies)
        try:
            fields = _unpack(header, raw=False, strict_map_key=True)
        except Exception as error:  # msgpack's own exceptions share no useful base class
            msg = f"header is not msgpack: {error!r}"
            raise ProtocolError(msg) from error
        if type(fields) is not list or not fields:
            raise ProtocolError("header is not an array")
        number = fields[0]
        if type(number) is not int or not 0 <= number < len(FRAME_TYPES):
            msg = f"unknown frame type {number!r}"
            raise ProtocolError(msg)
        try:
            if number == _RESULT:
                return _decode_result(fields, bodies)
            if number == _PREDICT:
                return self._decode_predict(fields, own or _Bodies(bodies))
            if number == _CHUNK:
                return _decode_chunk(fields, bodies)
            if len(bodies):
                raise ProtocolError("a body where none belongs")
            return decode_plain(number, fields)
        except (ValueError, TypeError) as error:  # wrong arity or shape, met while unpacking
            msg = f"malformed {FRAME_TYPES[number].__name__} frame: {error}"
            raise ProtocolError(msg) from error

    def _decode_predict(self, fields: list[Any], bodies: _Bodies) -> Predict:
        _, batch_id, items = fields
        if type(batch_id) is not int or type(items) is not list:
            raise ProtocolError("malformed Predict frame")
        take = bodies.take
        rows: list[Row] = []
        for request_id, *rest in items:
            if type(request_id) is not str:
                raise ProtocolError("malformed row")
            if len(rest) == 1:
                headers, properties, content_type = self._known
                if headers is None or properties is None or content_type is None:
                    raise ProtocolError(NOT_THERE)
                parts = [new_part((PLAIN, content_type, take(rest[0])))]
            elif rest and type(rest[0]) is int:
                if self._several is None:
                    raise ProtocolError(NOT_THERE)
                headers, properties, kinds = self._several
                parts = [
                    new_part((name, content_type, take(size)))
                    for (name, content_type), size in zip(kinds, rest, strict=True)
                ]
            else:
                headers, properties, sizes = rest
                check_pairs(headers, bytes)
                check_pairs(properties, str)
                parts = _decode_parts(sizes, take)
                if len(parts) > 1:
                    kinds = [(name, content_type) for name, content_type, _ in parts]
                    self._several = (headers, properties, kinds)
                elif parts and parts[0][0] == PLAIN:
                    self._known = (headers, properties, parts[0][1])
            rows.append(new_row((request_id, headers, properties, parts)))
        bodies.finish()
        return Predict(batch_id, rows)


class _Bodies:
    """Hands out a frame's bodies one after the other, and knows whether they fit."""

    __slots__ = ("_at", "_view")

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def take(self, size: int) -> Buffer:
        at = self._at
        if type(size) is not int or size < 0 or at + size > len(self._view):
            raise ProtocolError(BODIES_DO_NOT_FIT)
        self._at = at + size
        return self._view[at : at + size]

    def finish(self) -> None:
        if self._at != len(self._view):
            raise ProtocolError(BYTES_LEFT_OVER)


class _NewBodies(_Bodies):
    """Makes a frame's bodies, which are filled later.

    Args:
        size: of all bodies together.

    Attributes:
        room: the memory of each.
    """

    __slots__ = ("_rest", "room")

    def __init__(self, size: int) -> None:
        self._rest = size
        self.room: list[memoryview] = []

    def take(self, size: int) -> Buffer:
        if type(size) is not int or not 0 <= size <= self._rest:
            raise ProtocolError(BODIES_DO_NOT_FIT)
        self._rest -= size
        body = new_buffer(size)
        if size:
            self.room.append(memoryview(body))
        return body

    def finish(self) -> None:
        if self._rest:
            raise ProtocolError(BYTES_LEFT_OVER)


def _decode_short(view: memoryview) -> Result:
    batch_id, service_us = _SHORT.unpack_from(view)
    return new_result(
        (batch_id, service_us, [new_reply((0, "", _NO_HEADERS, "", view[_SHORT.size :]))])
    )


def _decode_result(fields: list[Any], view: memoryview) -> Result:
    _, batch_id, service_us, items = fields
    if type(batch_id) is not int or type(service_us) is not int or type(items) is not list:
        raise ProtocolError("malformed Result frame")
    replies = []
    said: list[str] | None = None
    at, end = 0, len(view)
    for item in items:
        if type(item) is int:
            if not 0 <= item <= end - at:
                raise ProtocolError(BODIES_DO_NOT_FIT)
            replies.append(new_reply((0, "", _NO_HEADERS, "", view[at : at + item])))
            at += item
            continue
        if type(item) is not list:
            raise ProtocolError("malformed reply")
        if len(item) == 1:
            [size] = item
            if said is None:
                raise ProtocolError("a reply refers to headers that nobody has sent")
            status, phrase, headers, error = 0, "", said, ""
        else:
            status, phrase, headers, error, size = item
            if type(status) is not int or type(phrase) is not str or type(error) is not str:
                raise ProtocolError("malformed reply")
            check_pairs(headers, str)
            if headers and not (status or phrase or error):
                said = headers
        if type(size) is not int or not 0 <= size <= end - at:
            raise ProtocolError(BODIES_DO_NOT_FIT)
        replies.append(new_reply((status, phrase, headers, error, view[at : at + size])))
        at += size
    if at != end:
        raise ProtocolError(BYTES_LEFT_OVER)
    return new_result((batch_id, service_us, replies))


def _decode_parts(sizes: object, take: Callable[[int], Buffer]) -> list[Part]:
    if type(sizes) is not list:
        raise ProtocolError("malformed row")
    parts = []
    for name, content_type, size in sizes:
        if type(name) is not str or type(content_type) is not str:
            raise ProtocolError("malformed part")
        parts.append(Part(name, content_type, take(size)))
    return parts


def _decode_chunk(fields: list[Any], view: memoryview) -> Chunk:
    _, batch_id, row, status, phrase, headers, size = fields
    if not (type(batch_id) is type(row) is type(status) is int and type(phrase) is str):
        raise ProtocolError("malformed Chunk frame")
    if headers or type(headers) is not list:  # most chunks have none
        check_pairs(headers, str)
    if type(size) is not int or size != len(view):
        raise ProtocolError(BODIES_DO_NOT_FIT)
    return new_chunk((batch_id, row, status, phrase, headers, view))
