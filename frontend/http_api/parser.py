"""Bytes to `Request`s: httptools does the grammar, this module the rest of RFC 9112.

llhttp, inside httptools, accepts things that a server behind a proxy must not (request
smuggling), and bounds nothing. The checks that are ours: exactly one ``Host`` in HTTP/1.1, one
``Content-Length`` at most, never together with ``Transfer-Encoding``, which is ``chunked`` and
nothing else and not for HTTP/1.0; limits on the request line, the head, the trailers, and the body
(before it is read, where its length is announced).

An ``Upgrade`` is ignored, as RFC 9110 allows. Llhttp would stop at it and drop the body, so such a
head is parsed once more without that field.

Clients repeat themselves: requests often differ in their bodies only. So heads that came together
with their whole bodies are remembered (`KnownHeads`), and when the same bytes come again, with a
body of the announced size and nothing else, they are not read again
(``benchmarks/micro/http_parse.py``).
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Final, Protocol, cast

import httptools

from tsl.protocol.buffers import new_buffer
from tsl.protocol.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    MalformedHttp,
    PayloadTooLarge,
    RequestTimeout,
    TslError,
    UriTooLong,
)
from tsl.protocol.frames import Headers

from .context import HttpLimits
from .known_heads import HEAD_END, KnownHeads
from .messages import Request, RequestHead

BODY_PROGRESS_BYTES: Final = 16 * 1024
"""Each time so much of a body has arrived, its sender gets more time."""
MANY_PIECES: Final = 64
"""More pieces than this in `BODY_PROGRESS_BYTES` are joined: each costs some 40 bytes of its own."""
REQUEST_LINE_EXTRA: Final = len(" HTTP/1.1\r\n ")
FIELD_EXTRA: Final = len(": \r\n")

_SINGLE: Final = frozenset({b"content-length", b"host", b"transfer-encoding"})
_NOWHERE: Final = memoryview(b"")
_NOT_REPEATABLE: Final = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
"""Fields for which there is more to do than to read a body of a known size."""
_LISTS: Final = frozenset({b"accept", b"authorization", b"expect"})
_NOTED: Final = frozenset(
    {
        b"accept",
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-timeout-ms",
        b"x-tsl-timing",
    }
)


class _Refused(Exception):
    pass


class ParserOwner(Protocol):
    """What a parser tells its connection."""

    def request_complete(self, request: Request) -> None:
        """A whole request has arrived."""

    def body_progress(self) -> None:
        """Another `BODY_PROGRESS_BYTES` of a body have arrived."""


class RequestParser:
    """Incremental parser for one connection.

    Args:
        owner: whom to tell.
        limits: bounds.
        heads: shared by all parsers with the same limits and the same ``withholds_authorization``.
        withholds_authorization: leave ``Authorization`` out of the headers of requests: it is for
            this server, and what it says is not to be handed on.

    Attributes:
        is_between_requests: whether no part of a request has arrived.
        wants_continue: the client has sent a head and waits for 100 Continue; whoever sends
            that clears it.
    """

    def __init__(
        self,
        owner: ParserOwner,
        limits: HttpLimits,
        heads: KnownHeads,
        *,
        withholds_authorization: bool = False,
    ) -> None:
        self._owner = owner
        self._heads = heads
        self._withholds_authorization = withholds_authorization
        self._limits = limits
        self._head_limit = limits.request_line_bytes + limits.header_bytes + REQUEST_LINE_EXTRA
        self._parser = httptools.HttpRequestParser(self)
        self._error: TslError | None = None
        self.is_between_requests = True
        self._is_http_1_1 = True
        self._keep_alive = True
        self._fed_bytes = 0
        self._latest: Request | None = None  # complete, and may be worth remembering
        self._reset()

    def close(self) -> None:
        """The connection is gone: without what refers back to it, all of it is freed at once."""
        self._owner = cast("ParserOwner", None)
        self._parser = cast("httptools.HttpRequestParser", None)

    def _reset(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._target = b""
        self._headers: Headers = []
        self._trailer_bytes = 0
        self._noted: dict[bytes, bytes] = {}
        self._body: list[bytes | bytearray] = []
        self._body_bytes = 0
        self._joined = 0  # so many first pieces of the body are not worth joining any more
        self._fruitless_bytes = 0  # behind the head, since a piece of the body came
        self._progress_at = BODY_PROGRESS_BYTES
        self._room = _NOWHERE  # for the rest of a large body
        self.wants_continue = False

    def known(self, data: bytes) -> Request | None:
        """The request that ``data`` is, if its head is known and nothing else is in it.

        Only between two requests. When there is none, `feed` takes the data.
        """
        end = data.find(HEAD_END) + len(HEAD_END)
        head = self._heads.get(data[:end])
        if head is None or len(data) - end != head.body_bytes or self._error is not None:
            return None
        return Request(head, data[end:], monotonic())

    def feed(self, data: bytes) -> TslError | None:
        """Take what arrived; complete requests go to the owner.

        Returns:
            The error that makes the rest of the connection unreadable, or None.
        """
        size = len(data)
        is_first = self.is_between_requests
        self._fed_bytes = size
        if self._in_head:
            self._head_bytes += size
        body_bytes = self._body_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._fail(error)
        if self._error is None:
            # What never ends, and is not body, is reported by nobody else.
            if not self._in_head:
                self._check_fruitful(size, body_bytes)
            elif self._head_bytes > self._head_limit:
                self._error = self._oversize()
            elif is_first and self.is_between_requests:
                self._remember(data)
        return self._error

    # -- large bodies, read into their place -------------------------------------------------------

    @property
    def missing_body(self) -> int:
        """Bytes of the present body that were announced and have not come."""
        length = None if self._in_head else self._noted.get(b"content-length")
        return 0 if length is None else int(length) - self._body_bytes

    @property
    def has_room(self) -> bool:
        """Whether the rest of a body comes by `direct_filled`."""
        return bool(self._room)

    def begin_direct(self) -> None:
        """Make room for the rest of the body; from now on it comes by `direct_filled`."""
        body = new_buffer(self._body_bytes + self.missing_body)
        view = memoryview(body)
        view[: self._body_bytes] = b"".join(self._body)
        self._room = view[self._body_bytes :]
        self._body = [body]

    def direct_room(self) -> memoryview:
        """Where the next bytes of the body go."""
        return self._room

    def direct_filled(self, size: int) -> bool:
        """So many bytes have come; answers whether there are more to come.

        Llhttp has not seen the body. Hence it is not asked to go on behind it: there is nothing of
        the next request yet, and a new one begins with that.
        """
        self.wants_continue = False
        self._body_bytes += size
        self._room = self._room[size:]
        if self._body_bytes >= self._progress_at:
            self._progress_at = self._body_bytes + BODY_PROGRESS_BYTES
            self._owner.body_progress()
        if self._room:
            return True
        self.on_message_complete()
        self._parser = httptools.HttpRequestParser(self)
        return False

    def _remember(self, data: bytes) -> None:
        """Note the head of a request that came in one piece, if there is nothing else in it.

        The first end of a head lies right before the body of the last request: so there is one
        request only, and nothing behind it.
        """
        request, self._latest = self._latest, None
        if request is None:
            return
        head_bytes = len(data) - len(request.body)
        if data.find(HEAD_END) + len(HEAD_END) == head_bytes:
            self._heads.add(data[:head_bytes], request.head)

    def _fail(self, error: httptools.HttpParserError) -> None:
        if self._error is None:
            self._error = MalformedHttp(hint=_detail(error))

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """Read a request again, less its ``Upgrade``, and all that follows it."""
        while self._error is None and not self.is_between_requests:
            data = self._head_without_upgrade() + rest
            self._parser = httptools.HttpRequestParser(self)
            self._reset()
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]  # another one, pipelined
            except httptools.HttpParserError as error:
                self._fail(error)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = b"1.1" if self._is_http_1_1 else b"1.0"
        lines = [b"%s %s HTTP/%s" % (self._parser.get_method(), self._target, version)]
        pairs = iter(self._headers)
        for name, value in zip(pairs, pairs, strict=True):
            if name.lower() != b"upgrade":
                lines.append(b"%s: %s" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    def _check_fruitful(self, size: int, body_bytes: int) -> None:
        """Bound chunk extensions and trailers, which may go on without any callback."""
        if self._body_bytes != body_bytes:
            self._fruitless_bytes = 0
            return
        self._fruitless_bytes += size
        if self._fruitless_bytes > self._head_limit:
            self._error = HeadersTooLarge()

    def broken_request(self) -> Request:
        """What is known of the request that caused an error, for its answer and the log."""
        method = self._parser.get_method() if self._target else b"GET"
        target = self._target or b"/bad-request"
        is_http_1_1 = self._is_http_1_1
        return Request(RequestHead(method, target, [], is_http_1_1=is_http_1_1, keep_alive=False))

    def timed_out(self) -> TslError:
        """The request did not arrive in time: the error to answer with."""
        self._error = RequestTimeout()
        return self._error

    def _oversize(self) -> TslError:
        if len(self._target) >= self._limits.request_line_bytes or not self._target:
            return UriTooLong()
        return HeadersTooLarge()

    def _refuse(self, error: TslError) -> _Refused:
        self._error = error
        return _Refused()

    # -- callbacks of httptools, in the order of a request ---------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.is_between_requests = False
        self._latest = None

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._target += url
        if len(self._target) + REQUEST_LINE_EXTRA > self._limits.request_line_bytes:
            raise self._refuse(UriTooLong())

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or trailer field behind a chunked body."""
        if not self._in_head:
            self._on_trailer(name, value)
            return
        headers = self._headers
        headers.append(name)
        headers.append(value)
        lower = name.lower()
        if lower in _NOTED:
            if lower in self._noted:
                value = self._repeated(lower, value)
            self._noted[lower] = value.strip()

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        """Fields behind a chunked body are read, bounded, and dropped."""
        self._trailer_bytes += len(name) + len(value) + FIELD_EXTRA
        if self._trailer_bytes > self._limits.header_bytes:
            raise self._refuse(HeadersTooLarge())

    def _repeated(self, name: bytes, value: bytes) -> bytes:
        """What to note of a field that was there before."""
        if name in _SINGLE:
            raise self._refuse(
                MalformedHttp(hint=f"There is more than one {name.decode()} header.")
            )
        if name in _LISTS:
            return self._noted[name] + b", " + value
        return value

    def on_headers_complete(self) -> None:
        """The head is complete: check what the grammar does not."""
        self._in_head = False
        noted, headers = self._noted, self._headers
        limit = self._limits.header_bytes
        # First the cheap bound: all that came before, and together with, the head's end.
        if self._head_bytes + self._fed_bytes > limit and _size(headers) > limit:
            raise self._refuse(HeadersTooLarge())
        self._keep_alive = self._parser.should_keep_alive()
        if self._keep_alive and b"connection" not in noted:
            is_http_1_1 = True  # in HTTP/1.0 it would have to be asked for
        else:
            is_http_1_1 = self._check_version()
        self._is_http_1_1 = is_http_1_1
        if is_http_1_1 and b"host" not in noted:
            raise self._refuse(MalformedHttp(hint="HTTP/1.1 needs a Host header."))
        coding = noted.get(b"transfer-encoding")
        if coding is not None:
            self._check_coding(coding, is_http_1_1=is_http_1_1)
        length = noted.get(b"content-length")
        if length is not None and int(length) > self._limits.body_bytes:
            raise self._refuse(self._too_large())
        expect = noted.get(b"expect")
        if expect is not None and is_http_1_1:
            if expect.lower() != b"100-continue":
                raise self._refuse(ExpectationFailed())
            self.wants_continue = bool(coding) or (length is not None and int(length) > 0)

    def _check_version(self) -> bool:
        version = self._parser.get_http_version()
        if version == "1.1":
            return True
        if version != "1.0":
            raise self._refuse(MalformedHttp(hint=f"HTTP/{version} is not spoken here."))
        return False

    def _check_coding(self, coding: bytes, *, is_http_1_1: bool) -> None:
        if coding.lower() != b"chunked":
            raise self._refuse(MalformedHttp(hint="The only Transfer-Encoding known is chunked."))
        if b"content-length" in self._noted:
            raise self._refuse(
                MalformedHttp(hint="Content-Length and Transfer-Encoding exclude each other.")
            )
        if not is_http_1_1:
            raise self._refuse(MalformedHttp(hint="HTTP/1.0 has no Transfer-Encoding."))

    def _too_large(self) -> TslError:
        return PayloadTooLarge(
            f"The request body is larger than max_request_size ({self._limits.body_bytes} bytes)."
        )

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.wants_continue = False
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes:
            raise self._refuse(self._too_large())
        if self._body_bytes >= self._progress_at:
            self._progress_at = self._body_bytes + BODY_PROGRESS_BYTES
            self._join_small_pieces()
            self._owner.body_progress()

    def _join_small_pieces(self) -> None:
        body = self._body
        if len(body) - self._joined > MANY_PIECES:
            body[self._joined :] = [b"".join(body[self._joined :])]
        self._joined = len(body)

    def on_message_complete(self) -> None:
        """The request is complete, unless it has to be read again without its upgrade."""
        parser, noted, body = self._parser, self._noted, self._body
        method = parser.get_method()
        upgrades = b"upgrade" in noted and parser.should_upgrade()
        if upgrades and method != b"CONNECT":
            return
        if b"transfer-encoding" in noted:
            self._headers += [b"content-length", b"%d" % self._body_bytes]  # for the handler
        if self._withholds_authorization and b"authorization" in noted:
            self._headers = _without(b"authorization", self._headers)
        head = RequestHead(
            method,
            self._target,
            self._headers,
            content_type=noted.get(b"content-type", b"").decode("latin-1"),
            accept=noted.get(b"accept", b""),
            authorization=noted.get(b"authorization", b""),
            timeout_ms=noted.get(b"x-request-timeout-ms", b""),
            is_http_1_1=self._is_http_1_1,
            keep_alive=self._keep_alive and method != b"CONNECT",
            wants_timing=b"x-tsl-timing" in noted,
            body_bytes=self._body_bytes,
        )
        request = Request(head, body[0] if len(body) == 1 else b"".join(body), monotonic())
        if self._is_http_1_1 and request.keep_alive and _NOT_REPEATABLE.isdisjoint(noted):
            self._latest = request
        else:
            self._latest = None
        self._reset()
        self.is_between_requests = True
        self._owner.request_complete(request)


def _without(lower_name: bytes, headers: Headers) -> Headers:
    pairs = zip(headers[::2], headers[1::2], strict=True)
    return [part for pair in pairs if pair[0].lower() != lower_name for part in pair]


def _size(headers: Headers) -> int:
    return sum(map(len, headers)) + len(headers) // 2 * FIELD_EXTRA


def _detail(error: Exception) -> str:
    """Llhttp's own words, which name the place and never quote the client."""
    cause: Any = error.__context__
    return "" if isinstance(cause, _Refused) else f"{error}."
