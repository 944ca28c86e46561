"""A request's body as the list of named parts a handler gets; model input is never decoded here.

Which body becomes which parts is the contract of TorchServe (inference API, section 3). Forms
are parsed by the `multipart` library.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

import multipart

from tsl.protocol.errors import InvalidRequest
from tsl.protocol.frames import Part, new_part

MAX_PARTS: Final = 1024
"""Fields of a form at most; the body's size is limited before."""
MAX_PART_HEADER_BYTES: Final = 16 * 1024
MAX_NAMES_BYTES: Final = 64 * 1024
"""All field names of a form. Names travel in a frame's header, which is bounded, too: somebody's
long names must not cost a worker everybody's batch."""

_FORM: Final = "multipart/form-data"
_URLENCODED: Final = "application/x-www-form-urlencoded"
_EXTENDED_FILE_NAME: Final = re.compile(r";\s*filename\*\s*=", re.IGNORECASE)
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parts_of(content_type: str, body: bytes | bytearray) -> list[Part]:
    """Split a body.

    Args:
        content_type: value of the header, "" when absent.
        body: shape ``(size,)`` bytes, complete.

    Returns:
        The fields of a form in order, repeated names kept; for any other body one part named
        ``body``, also when it is empty.

    Raises:
        InvalidRequest: the body is declared as a form and is none.
    """
    plain_type = media_type_of(content_type)
    if plain_type is not None:
        return [new_part(("body", plain_type, body))]
    media_type, options = _parse_content_type(content_type)
    if media_type == _URLENCODED:
        return urlencoded_parts(bytes(body))
    return _checked(_multipart_parts(body, options["boundary"]))


def media_type_of(content_type: str) -> str | None:
    """The type of a body that is one value as a whole; None for one that `parts_of` has to split.

    Args:
        content_type: value of the header, "" when absent.
    """
    if not content_type:
        return ""
    media_type, options = _parse_content_type(content_type)
    if media_type == _URLENCODED or (media_type == _FORM and options.get("boundary")):
        return None
    return media_type


def _checked(parts: list[Part]) -> list[Part]:
    if sum(len(part.name) for part in parts) > MAX_NAMES_BYTES:
        raise InvalidRequest(f"The form's field names have more than {MAX_NAMES_BYTES} characters.")
    return parts


@lru_cache(maxsize=256)
def _parse_content_type(content_type: str) -> tuple[str, dict[str, str]]:
    """Media type and parameters; remembered, because clients repeat themselves."""
    media_type, options = multipart.parse_options_header(content_type)
    return media_type, options


def urlencoded_parts(text: bytes) -> list[Part]:
    """Fields of an urlencoded form or of a query string; one without ``=`` is left out.

    Raises:
        InvalidRequest: a percent sign is not followed by two hexadecimal digits, or there are
            more than `MAX_PARTS` fields.
    """
    if _BROKEN_ESCAPE.search(text):
        raise InvalidRequest("The form is not valid: a % is not followed by two hex digits.")
    if text.count(b"&") >= MAX_PARTS:
        raise InvalidRequest(f"The form has more than {MAX_PARTS} fields.")
    parts = []
    for field in text.split(b"&"):
        name, equals, value = field.replace(b"+", b" ").partition(b"=")
        if not equals:
            continue
        parts.append(Part(_decoded(unquote_to_bytes(name)), "", unquote_to_bytes(value)))
    return _checked(parts)


def _multipart_parts(body: bytes | bytearray, boundary: str) -> list[Part]:
    """Parts of a multipart form. As with TorchServe, only a part with a file name has a type."""
    parts: list[Part] = []
    if not body:
        return parts
    segment: multipart.MultipartSegment | None = None
    content: list[bytes] = []
    try:
        parser = multipart.PushMultipartParser(
            boundary,
            max_header_size=MAX_PART_HEADER_BYTES,
            max_segment_count=MAX_PARTS,
            header_charset="latin-1",  # any bytes; `_part` decodes the name
        )
        for event in parser.parse(body):
            if isinstance(event, multipart.MultipartSegment):
                segment, content = event, []
            elif event:
                content.append(bytes(event))
            elif segment is not None:
                parts.append(_part(segment, b"".join(content)))
    except multipart.MultipartError as error:
        msg = f"The multipart form is not valid: {error}."
        raise InvalidRequest(msg) from error
    return parts  # a form that ends too early has fewer parts: TorchServe takes it like that


def _part(segment: multipart.MultipartSegment, content: bytes) -> Part:
    name = _decoded(segment.name.encode("latin-1"))
    disposition = segment.header("Content-Disposition", "")
    if segment.filename is None and not _EXTENDED_FILE_NAME.search(disposition):
        return Part(name, "", content)
    given = segment.header("Content-Type", "") or "application/octet-stream"
    return Part(name, multipart.parse_options_header(given)[0], content)


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")
