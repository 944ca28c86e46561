"""The fields of a request, and what HTTP/2 asks of them (RFC 9113, section 8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .codes import ErrorCode, StreamFault
from .fields import Fields

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$").search
_PSEUDO: Final = (b":method", b":scheme", b":path", b":authority")
_OF_HTTP_1: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_FIELD_BYTES: Final = 32
"""Counted for each field besides name and value (RFC 7541, section 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A request without its data.

    Attributes:
        method: of HTTP.
        path: with the query.
        fields: the rest, in order, without pseudo-header fields.
        content_length: bytes; -1 if it was not said.
        size: as settings count it, bytes.
    """

    method: bytes
    path: bytes
    fields: Fields
    content_length: int
    size: int


def request_head(fields: Fields) -> RequestHead:
    """Look at the fields of a request.

    Raises:
        StreamFault: it is malformed.
    """
    pseudo: dict[bytes, bytes] = {}
    others: Fields = []
    content_length = -1
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + _FIELD_BYTES
        if name[:1] == b":":
            if others or name in pseudo or name not in _PSEUDO or _BAD_VALUE(value):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR)
            pseudo[name] = value
            continue
        if not _NAME(name) or _BAD_VALUE(value) or name in _OF_HTTP_1:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR)
        if name == b"te" and value != b"trailers":
            raise StreamFault(ErrorCode.PROTOCOL_ERROR)
        if name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 20 else -1
            if length < 0 or content_length not in (-1, length):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR)
            content_length = length
        others.append((name, value))
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if not method or not path or b":scheme" not in pseudo:
        raise StreamFault(ErrorCode.PROTOCOL_ERROR)
    return RequestHead(
        method=method, path=path, fields=others, content_length=content_length, size=size
    )
