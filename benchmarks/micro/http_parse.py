"""What does reading a request cost, and how much of it is httptools?"""

from __future__ import annotations

import httptools

from tsl.frontend.http_api.body import parts_of
from tsl.frontend.http_api.context import HttpLimits
from tsl.frontend.http_api.known_heads import KnownHeads
from tsl.frontend.http_api.messages import Request
from tsl.frontend.http_api.parser import RequestParser

from .timing import print_times

WRK = (
    b"POST /predictions/b1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
    b"Content-Type: application/octet-stream\r\nAuthorization: Bearer aB3dE6gH\r\n"
    b"Content-Length: 11\r\n\r\nhello world"
)
BOUNDARY = b"------------------------d74496d66958873e"
FORM = (
    b"--%s\r\n"
    b'Content-Disposition: form-data; name="data"; filename="kitten.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n%s\r\n--%s--\r\n"
) % (BOUNDARY, b"\xff\xd8" * 55_000, BOUNDARY)
CURL_TYPE = "multipart/form-data; boundary=" + BOUNDARY.decode()
CURL = (
    b"POST /predictions/densenet161 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.5.0\r\n"
    b"Accept: */*\r\nContent-Length: %d\r\nContent-Type: %s\r\n\r\n%s"
) % (len(FORM), CURL_TYPE.encode(), FORM)


class Owner:
    """A connection that does nothing with its requests."""

    def request_complete(self, request: Request) -> None:
        """Drop it."""

    def body_progress(self) -> None:
        """Take no notice."""


class Callbacks:
    """The least that a parser must be told: as little as `benchmarks.load.bare` asks for."""

    def on_body(self, data: bytes) -> None:
        """Drop it."""

    def on_message_complete(self) -> None:
        """Take no notice."""


def main() -> None:
    """Print the times per request."""
    parser = RequestParser(Owner(), HttpLimits(), KnownHeads())
    forgetful = RequestParser(Owner(), HttpLimits(), KnownHeads())
    forgetful._remember = lambda data: None  # type: ignore[method-assign]  # noqa: SLF001
    parser.feed(WRK)
    bare = httptools.HttpRequestParser(Callbacks())
    print_times(
        "reading a request",
        {
            "wrk, httptools alone": lambda: bare.feed_data(WRK),
            "wrk, RequestParser": lambda: forgetful.feed(WRK),
            "wrk, RequestParser, a head that it knows": lambda: parser.known(WRK),
            "curl -F 110 kB, httptools alone": lambda: bare.feed_data(CURL),
            "curl -F 110 kB, RequestParser": lambda: forgetful.feed(CURL),
            "curl -F 110 kB, parts_of the form": lambda: parts_of(CURL_TYPE, FORM),
            "wrk, parts_of": lambda: parts_of("application/octet-stream", b"hello world"),
        },
    )


if __name__ == "__main__":
    main()
