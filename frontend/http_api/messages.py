"""Requests as received and response heads as sent: values and bytes, no connection.

Heads are built from parts that are made once: status lines at import, the fixed headers as one
block. Header names are spelt as TorchServe spells them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tsl.protocol.frames import Headers

from .reason_phrases import reason_phrase

if TYPE_CHECKING:
    from ..auth import Key
    from .router import Match
    from .submission import ModelCall

FIXED_HEADERS: Final = (
    b"Pragma: no-cache\r\n"
    b"Cache-Control: no-cache; no-store, must-revalidate, private\r\n"
    b"Expires: Thu, 01 Jan 1970 00:00:00 UTC\r\n"
)
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
STREAM_NEXT: Final = b"ts_stream_next: true\r\n"
"""What TorchServe's clients tell a stream by."""
JSON_TYPE: Final = b"content-type: application/json\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n\r\n"
CLOSE: Final = b"connection: close\r\n\r\n"

_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii")
    for status in range(100, 600)
}
_OURS: Final = frozenset(
    {
        "cache-control",
        "connection",
        "content-length",
        "date",
        "expires",
        "keep-alive",
        "pragma",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    }
)
"""Headers that are the server's to set; a handler's are left out."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class RequestHead:
    """What a request says before its body; never changed, and shared by requests that repeat it.

    Attributes:
        method: as sent, upper case by the grammar.
        target: the raw request target.
        headers: flat pairs as received, names in the client's spelling.
        content_type: value of the header, "" when absent.
        accept: value of the header, b"" when absent.
        authorization: value of the header, b"" when absent; with tokens on, it is here only and
            not among ``headers``.
        timeout_ms: value of ``x-request-timeout-ms``, the client's own time limit; b"" when absent.
        is_http_1_1: false for HTTP/1.0.
        keep_alive: whether the client wants to use the connection again.
        wants_timing: whether the answer shall say where its time went (``x-tsl-timing``).
        body_bytes: size of the body that came with it.
        match: where the router has found it leads; None until it was asked.
        call: what the endpoint has made of it, to be used again; None until it was asked.
        passed_key: the key that it showed when it was let pass; None when it showed none.
        log_text: what the access log says of it; None until it was asked.
    """

    __slots__ = (
        "accept",
        "authorization",
        "body_bytes",
        "call",
        "content_type",
        "headers",
        "is_http_1_1",
        "keep_alive",
        "log_text",
        "match",
        "method",
        "passed_key",
        "target",
        "timeout_ms",
        "wants_timing",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        *,
        content_type: str = "",
        accept: bytes = b"",
        authorization: bytes = b"",
        timeout_ms: bytes = b"",
        is_http_1_1: bool = True,
        keep_alive: bool = True,
        wants_timing: bool = False,
        body_bytes: int = 0,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.content_type = content_type
        self.accept = accept
        self.authorization = authorization
        self.timeout_ms = timeout_ms
        self.is_http_1_1 = is_http_1_1
        self.keep_alive = keep_alive
        self.wants_timing = wants_timing
        self.body_bytes = body_bytes
        self.match: Match | None = None
        self.call: ModelCall | None = None
        self.passed_key: Key | None = None
        self.log_text: bytes | None = None


class Request:
    """One HTTP request, complete.

    Attributes:
        head: all but the body; its fields can also be read here.
        body: shape ``(size,)`` bytes, empty when there is none.
        keep_alive: whether the connection will be used again: as the client wants it, until the
            answer decides otherwise.
        started_at: ``time.monotonic()`` seconds of its last byte, 0.0 when it never came.
    """

    __slots__ = ("body", "head", "keep_alive", "started_at")

    def __init__(
        self, head: RequestHead, body: bytes | bytearray = b"", started_at: float = 0.0
    ) -> None:
        self.head = head
        self.body = body
        self.keep_alive = head.keep_alive
        self.started_at = started_at

    @property
    def method(self) -> bytes:
        """As sent."""
        return self.head.method

    @property
    def target(self) -> bytes:
        """The raw request target."""
        return self.head.target

    @property
    def headers(self) -> Headers:
        """Flat pairs as received."""
        return self.head.headers

    @property
    def content_type(self) -> str:
        """Value of the header."""
        return self.head.content_type

    @property
    def accept(self) -> bytes:
        """Value of the header."""
        return self.head.accept

    @property
    def authorization(self) -> bytes:
        """Value of the header."""
        return self.head.authorization

    @property
    def timeout_ms(self) -> bytes:
        """Value of ``x-request-timeout-ms``."""
        return self.head.timeout_ms

    @property
    def is_http_1_1(self) -> bool:
        """False for HTTP/1.0."""
        return self.head.is_http_1_1


def status_line(status: int, phrase: str = "") -> bytes:
    """Status line of a response.

    Args:
        status: 100 to 599.
        phrase: the handler's reason phrase; "" for the standard one. Control characters in it
            become blanks: line breaks would be headers of somebody else's making.
    """
    if not phrase:
        return _STATUS_LINES[status]
    text = _CONTROL.sub(" ", phrase).encode("latin-1", "replace")
    return b"HTTP/1.1 %d %s\r\n" % (status, text)


def handler_headers(pairs: Sequence[str]) -> tuple[bytes, set[str]]:
    """Header lines for what a handler has set.

    Args:
        pairs: flat ``[name, value, …]``; a later value of a name replaces an earlier one.

    Returns:
        The lines, latin-1 where that is possible and UTF-8 else, and the lower-case names in
        them. Names that are the server's, and anything that is not a valid header, are left out.
    """
    chosen: dict[str, tuple[str, str]] = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        lower = name.lower()
        if lower not in _OURS and _TOKEN.fullmatch(name) and not _CONTROL.search(value):
            chosen[lower] = (name, value)
    return b"".join(_line(name, value) for name, value in chosen.values()), set(chosen)


@lru_cache(maxsize=256)
def known_headers(pairs: tuple[str, ...]) -> tuple[bytes, frozenset[str]]:
    """The same for headers that come again, as text that can be put behind another line.

    Args:
        pairs: flat ``(name, value, …)``.

    Returns:
        The lines, each with the line's end before it; and the names.
    """
    lines, names = handler_headers(pairs)
    return (b"\r\n" + lines[:-2] if lines else b""), frozenset(names)


def _line(name: str, value: str) -> bytes:
    line = f"{name}: {value}\r\n"
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")


def json_body(document: Any) -> bytes:
    """A server-made JSON body: indent 2, a newline at the end (TorchServe's form).

    Halves of surrogate pairs, which JSON input may hold and messages repeat, become ``?``.
    """
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
