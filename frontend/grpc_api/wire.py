"""gRPC over HTTP/2, as bytes: heads of calls, messages with their prefix, trailers.

The reference is "gRPC over HTTP2" (``PROTOCOL-HTTP2.md`` of the gRPC project).
"""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from struct import Struct
from typing import Final
from urllib.parse import quote_from_bytes

from ..http2.fields import Fields, encode_fields
from ..http2.requests import request_head
from .codes import CallError, StatusCode

PREFIX_BYTES: Final = 5
COMPRESS_FROM_BYTES: Final = 1024
"""Answers below this size are not worth compressing."""
ENCODINGS: Final = ("identity", "deflate", "gzip")

prefix: Final = Struct(">BL").pack
_TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])").fullmatch
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_CONTENT_TYPE: Final = re.compile(rb"application/grpc(\+proto)?([; ]|$)").match
_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}
_PLAIN: Final = bytes(range(0x20, 0x7F)).replace(b"%", b"").decode()

_CONTENT: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_ACCEPTS: Final = (b"grpc-accept-encoding", ",".join(ENCODINGS).encode())
HEAD: Final = encode_fields((*_CONTENT, _ACCEPTS))
COMPRESSED_HEADS: Final = {
    name: encode_fields((*_CONTENT, _ACCEPTS, (b"grpc-encoding", name.encode())))
    for name in _WINDOW_BITS
}
OK_TRAILERS: Final = encode_fields(((b"grpc-status", b"0"),))


def trailers(code: StatusCode, text: str) -> bytes:
    """The header block that ends a call which has begun to answer."""
    return encode_fields(_status(code, text))


def trailers_only(code: StatusCode, text: str) -> bytes:
    """The header block that is all of an answer."""
    return encode_fields((*_CONTENT, _ACCEPTS, *_status(code, text)))


def _status(code: StatusCode, text: str) -> Fields:
    fields = [(b"grpc-status", b"%d" % code)]
    if text:
        message = quote_from_bytes(text.encode("utf-8", "replace"), safe=_PLAIN)
        fields.append((b"grpc-message", message.encode("ascii")))
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHead:
    """What a call says before its first message.

    Attributes:
        path: ``/package.Service/Method``.
        authorization: value of that metadata; b"" for none.
        timeout_s: how long the client waits; None for as long as it takes.
        encoding: how its messages are compressed.
        answer_encoding: how answers are compressed: as the call is, if the client takes that.
        content_length: of HTTP; -1 when it was not said.
        refusal: header block of an answer of HTTP, for what is no call of gRPC.
        error: why the call cannot be served.
    """

    path: bytes
    authorization: bytes
    timeout_s: float | None
    encoding: str
    answer_encoding: str
    content_length: int
    refusal: bytes | None
    error: CallError | None


def call_head(fields: Fields, max_bytes: int) -> CallHead:
    """The head of a call.

    Args:
        fields: of the request.
        max_bytes: that all fields may have.

    Raises:
        StreamFault: it is malformed as HTTP.
    """
    request = request_head(fields)
    named: dict[bytes, bytes] = {}
    for name, value in request.fields:
        named.setdefault(name, value)
    error: CallError | None = None
    timeout_s: float | None = None
    encoding = named.get(b"grpc-encoding", b"identity").decode("latin-1")
    accepted = named.get(b"grpc-accept-encoding", b"").decode("latin-1").replace(" ", "")
    try:
        timeout_s = _timeout(named.get(b"grpc-timeout"))
        if encoding not in ENCODINGS:
            msg = f"The encoding {encoding!r} is not known here; use one of {', '.join(ENCODINGS)}."
            raise CallError(StatusCode.UNIMPLEMENTED, msg)
        if request.size > max_bytes:
            msg = f"The metadata has {request.size} bytes; {max_bytes} are allowed."
            raise CallError(StatusCode.RESOURCE_EXHAUSTED, msg)
    except CallError as caught:
        error = caught
    return CallHead(
        path=request.path,
        authorization=named.get(b"authorization", b""),
        timeout_s=timeout_s,
        encoding=encoding,
        answer_encoding=encoding if encoding in accepted.split(",") else "identity",
        content_length=request.content_length,
        refusal=_refusal(request.method, named.get(b"content-type", b"")),
        error=error,
    )


def _refusal(method: bytes, content_type: bytes) -> bytes | None:
    if method != b"POST":
        return encode_fields(((b":status", b"405"), (b"allow", b"POST")))
    if not _CONTENT_TYPE(content_type):
        return encode_fields(((b":status", b"415"),))
    return None


def _timeout(value: bytes | None) -> float | None:
    if value is None:
        return None
    found = _TIMEOUT(value)
    if found is None:
        text = value.decode("latin-1")
        msg = f"grpc-timeout {text!r} is none: up to eight digits and one of H, M, S, m, u, n."
        raise CallError(StatusCode.INVALID_ARGUMENT, msg)
    return int(found[1]) * _SECONDS[found[2]]


def decompressed(data: bytes, encoding: str, max_bytes: int) -> bytes:
    """A message whose flag says that it is compressed.

    Raises:
        CallError: it is not what it says, or grows too large.
    """
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        msg = "A message is marked as compressed, but grpc-encoding names no compression."
        raise CallError(StatusCode.INTERNAL, msg)
    stream = zlib.decompressobj(bits)
    try:
        plain = stream.decompress(data, max_bytes + 1)
    except zlib.error as error:
        msg = f"A message is not compressed by {encoding}, as it says: {error}."
        raise CallError(StatusCode.INVALID_ARGUMENT, msg) from error
    if len(plain) > max_bytes:
        raise too_large(len(plain), max_bytes)
    if not stream.eof:
        msg = f"A message compressed by {encoding} is not complete."
        raise CallError(StatusCode.INVALID_ARGUMENT, msg)
    return plain


def framed(message: bytes, encoding: str) -> bytes:
    """A message with its prefix, compressed if that is asked for and worth it."""
    if encoding == "identity" or len(message) < COMPRESS_FROM_BYTES:
        return prefix(0, len(message)) + message
    small = gzip.compress(message, 1) if encoding == "gzip" else zlib.compress(message, 1)
    return prefix(1, len(small)) + small


def too_large(size: int, max_bytes: int) -> CallError:
    """A message that is refused for its size."""
    msg = f"A message has {size} bytes or more; max_request_size allows {max_bytes}."
    return CallError(StatusCode.RESOURCE_EXHAUSTED, msg)
