"""``Content-Encoding`` of requests and answers of the Open Inference Protocol: gzip, deflate."""

from __future__ import annotations

import zlib
from typing import Final

from tsl.protocol.errors import InvalidRequest, PayloadTooLarge
from tsl.protocol.frames import Buffer, Headers

MIN_COMPRESSED_BYTES: Final = 1024
"""Below this size compressing an answer is not worth anybody's time."""
_LEVEL: Final = 1
_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}
_EITHER: Final = 47
_CODED: Final = (b"content-encoding", b"content-length")


def decompress(coding: str, body: bytes | bytearray, limit: int) -> bytes | bytearray:
    """The content of a request.

    Args:
        coding: value of ``Content-Encoding``.
        body: as received.
        limit: bytes that the content may have.

    Raises:
        InvalidRequest: the coding is none of ours, or the body is not coded like that.
        PayloadTooLarge: the content has more bytes.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _WINDOW_BITS:
        raise InvalidRequest(f"The Content-Encoding {coding!r} is not supported.", hint=_KNOWN)
    decoder = zlib.decompressobj(_EITHER)
    try:
        content = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"The request body is not valid {name}.") from error
    if len(content) > limit:
        raise PayloadTooLarge(f"The decompressed body has more than {limit} bytes.")
    if not decoder.eof or decoder.unused_data:
        raise InvalidRequest(
            f"The request body is not valid {name}: it does not end where it says."
        )
    return content


_KNOWN: Final = "Use gzip or deflate."


def decoded(
    headers: Headers, body: bytes | bytearray, limit: int
) -> tuple[Headers, bytes | bytearray]:
    """The headers and the content of a request that may be coded.

    Args:
        headers: as received; those of a coded body are left out of the result.
        body: as received.
        limit: bytes that the content may have.

    Raises:
        InvalidRequest, PayloadTooLarge: as `decompress`.
    """
    pairs = [*zip(headers[::2], headers[1::2], strict=True)]
    codings = [value for name, value in pairs if name.lower() == b"content-encoding"]
    if not codings:
        return headers, body
    kept = [pair for pair in pairs if pair[0].lower() not in _CODED]
    content = decompress(codings[-1].decode("latin-1"), body, limit)
    return [item for pair in kept for item in pair], content


def coding_for(accepted: str) -> str:
    """The coding to answer with: ``gzip``, ``deflate``, or "" for none.

    Args:
        accepted: value of ``Accept-Encoding``.
    """
    for item in accepted.lower().split(","):
        name, _, parameters = item.partition(";")
        quality = parameters.replace(" ", "")
        if name.strip() in _WINDOW_BITS and quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            return name.strip()
    return ""


def compress(coding: str, body: Buffer) -> bytes:
    """An answer in a coding that `coding_for` chose."""
    encoder = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[coding])
    return encoder.compress(body) + encoder.flush()
