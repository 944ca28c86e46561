from __future__ import annotations

import httptools
import pytest
from http_client import chunked, request

from tsl.frontend.http_api.context import HttpLimits
from tsl.frontend.http_api.known_heads import MAX_HEAD_BYTES, MAX_HEADS, KnownHeads
from tsl.frontend.http_api.parser import BODY_PROGRESS_BYTES, RequestParser
from tsl.protocol.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    MalformedHttp,
    PayloadTooLarge,
    RequestTimeout,
    UriTooLong,
)


class Owner:
    """Keeps what a parser tells."""

    def __init__(self):
        self.requests = []
        self.progress = 0

    def request_complete(self, request):
        self.requests.append(request)

    def body_progress(self):
        self.progress += 1


def take(parser, owner, data):
    """What a connection does with data; answers the error."""
    known = parser.known(data) if parser.is_between_requests else None
    if known is None:
        return parser.feed(data)
    owner.request_complete(known)
    return None


def parse(*pieces, **limits):
    """Feed pieces until one is refused; answers owner, parser and error."""
    owner = Owner()
    parser = RequestParser(owner, HttpLimits(**limits), KnownHeads())
    for piece in pieces:
        error = take(parser, owner, piece)
        if error is not None:
            return owner, parser, error
    return owner, parser, None


def refusal(data, **limits):
    """The error for bytes that must be refused before any request is complete."""
    owner, _, error = parse(data, **limits)
    assert owner.requests == []
    assert error is not None
    return error


def seen(owner):
    return [
        (r.method, r.target, r.headers, r.body, r.is_http_1_1, r.keep_alive, r.content_type)
        for r in owner.requests
    ]


PIPELINE = (
    request("/a?x=%20", headers=[("Accept", "a/b"), ("accept", "c/d")])
    + request("/b", "POST", body=b"hello", headers=[("Content-Type", "text/plain; charset=x")])
    + chunked("/c", trailers=b"X-Sum: 1\r\n", extension=b';note="a;b"')
    + b"\r\n"
    + request("/d", "HEAD", version="1.0", host=False, headers=[("Connection", "Keep-Alive")])
    + request("/e", "DELETE")
)


def test_requests_are_told_in_order_with_all_that_is_known_of_them():
    owner, parser, error = parse(PIPELINE)

    assert error is None
    assert parser.is_between_requests
    assert [(r.method, r.target, r.body) for r in owner.requests] == [
        (b"GET", b"/a?x=%20", b""),
        (b"POST", b"/b", b"hello"),
        (b"POST", b"/c", b"abcde"),
        (b"HEAD", b"/d", b""),
        (b"DELETE", b"/e", b""),
    ]
    assert owner.requests[0].accept == b"a/b, c/d"
    assert owner.requests[0].headers == [b"Host", b"h", b"Accept", b"a/b", b"accept", b"c/d"]
    assert owner.requests[1].content_type == "text/plain; charset=x"
    assert [r.is_http_1_1 for r in owner.requests] == [True, True, True, False, True]
    assert all(r.keep_alive for r in owner.requests)


def test_a_chunked_body_gives_the_handler_a_length_and_no_trailers():
    owner, _, _ = parse(chunked(trailers=b"X-Sum: 1\r\nConnection: close\r\n"))

    assert owner.requests[0].headers == [
        b"Host",
        b"h",
        b"Transfer-Encoding",
        b"chunked",
        b"content-length",
        b"5",
    ]


def test_one_byte_at_a_time_gives_the_same_requests():
    whole, _, _ = parse(PIPELINE)

    single, _, error = parse(*(PIPELINE[i : i + 1] for i in range(len(PIPELINE))))

    assert error is None
    assert seen(single) == seen(whole)


@pytest.mark.parametrize("at", range(1, len(PIPELINE)))
def test_every_split_point_gives_the_same_requests(at):
    whole, _, _ = parse(PIPELINE)

    split, _, error = parse(PIPELINE[:at], PIPELINE[at:])

    assert error is None
    assert seen(split) == seen(whole)


def test_an_empty_parser_is_between_requests_until_the_first_byte_of_a_request():
    _, parser, _ = parse(b"\r\n")
    assert parser.is_between_requests

    parser.feed(b"G")
    assert not parser.is_between_requests


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(request(), True, id="1.1"),
        pytest.param(request(headers=[("Connection", "close")]), False, id="1.1 close"),
        pytest.param(request(headers=[("connection", "Close")]), False, id="1.1 Close"),
        pytest.param(request(headers=[("Connection", "x, close, y")]), False, id="in a list"),
        pytest.param(
            request(headers=[("Connection", "x"), ("Connection", "close")]), False, id="two lines"
        ),
        pytest.param(request(headers=[("Connection", "closed")]), True, id="another word"),
        pytest.param(request(version="1.0"), False, id="1.0"),
        pytest.param(
            request(version="1.0", headers=[("Connection", "Keep-Alive")]), True, id="1.0 keep"
        ),
    ],
)
def test_the_client_says_whether_the_connection_is_kept(given, expected):
    owner, _, error = parse(given)

    assert error is None
    assert owner.requests[0].keep_alive is expected


# -- request smuggling -----------------------------------------------------------------------------


def post(*lines, body=b"0\r\n\r\n", version=b"1.1", host=b"Host: h\r\n"):
    head = b"POST /now HTTP/" + version + b"\r\n" + host
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"

SMUGGLING = {
    "length and coding": post(b"Content-Length: 5", CHUNKED),
    "coding and length": post(CHUNKED, b"Content-Length: 5"),
    "length and coding in another case": post(b"content-length: 5", b"tRANSFER-eNCODING: chunked"),
    "two equal lengths": post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "two different lengths": post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"),
    "a list of lengths": post(b"Content-Length: 3, 3", body=b"abc"),
    "a negative length": post(b"Content-Length: -3", body=b"abc"),
    "a length with a plus": post(b"Content-Length: +3", body=b"abc"),
    "a hexadecimal length": post(b"Content-Length: 0x3", body=b"abc"),
    "a length with an underscore": post(b"Content-Length: 1_0", body=b"0123456789"),
    "a huge length": post(b"Content-Length: 18446744073709551619", body=b"abc"),
    "an empty length": post(b"Content-Length:", body=b"abc"),
    "a length in two words": post(b"Content-Length: 3 3", body=b"abc"),
    "a length with a letter": post(b"Content-Length: 3a", body=b"abc"),
    "the coding twice": post(CHUNKED, CHUNKED),
    "the coding twice in a list": post(b"Transfer-Encoding: chunked, chunked"),
    "xchunked": post(b"Transfer-Encoding: xchunked"),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity"),
    "identity, chunked": post(b"Transfer-Encoding: identity, chunked"),
    "identity and chunked": post(b"Transfer-Encoding: identity", CHUNKED),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked"),
    "identity": post(b"Transfer-Encoding: identity"),
    "a quoted coding": post(b'Transfer-Encoding: "chunked"'),
    "a coding with a parameter": post(b"Transfer-Encoding: chunked;q=1"),
    "a list that begins empty": post(b"Transfer-Encoding: , chunked"),
    "an empty coding": post(b"Transfer-Encoding:"),
    "a coding with a vertical tab": post(b"Transfer-Encoding: \x0bchunked"),
    "a coding in 1.0": post(CHUNKED, version=b"1.0"),
    "a folded line": post(b"X-A: 1\r\n 2", body=b""),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked"),
    "a fold in the first line": post(host=b" Host: h\r\n", body=b""),
    "a bare LF between fields": post(b"X-A: 1\nX-B: 2", body=b""),
    "a bare LF behind the request line": b"GET /now HTTP/1.1\nHost: h\r\n\r\n",
    "a bare LF behind the head": b"GET /now HTTP/1.1\r\nHost: h\r\n\n",
    "nothing but bare LFs": b"GET /now HTTP/1.1\nHost: h\n\n",
    "a bare CR": post(b"X-A: 1\rX-B: 2", body=b""),
    "a NUL in a value": post(b"X-A: 1\x002", body=b""),
    "a NUL in a name": post(b"X-\x00A: 1", body=b""),
    "a control character in a value": post(b"X-A: 1\x012", body=b""),
    "a DEL in a value": post(b"X-A: 1\x7f2", body=b""),
    "a control character in a name": post(b"X-\x1fA: 1", body=b""),
    "a byte above 127 in a name": post(b"X-\xe9: 1", body=b""),
    "a space before the colon": post(b"Content-Length : 3", body=b"abc"),
    "a tab before the colon": post(b"Content-Length\t: 3", body=b"abc"),
    "a name of nothing": post(b": 3", body=b""),
    "no colon": post(b"Content-Length", body=b""),
    "two hosts": post(b"Host: h", body=b""),
    "two different hosts": post(b"host: g", body=b""),
    "two hosts in 1.0": post(b"Host: g", version=b"1.0", body=b""),
    "no host in 1.1": post(host=b"", body=b""),
    "HTTP/0.9": b"GET /now\r\n\r\n",
    "HTTP/1.2": post(version=b"1.2", body=b""),
    "HTTP/2.0": post(version=b"2.0", body=b""),
    "HTTP/1.10": post(version=b"1.10", body=b""),
    "an unknown protocol": b"GET /now HTTQ/1.1\r\nHost: h\r\n\r\n",
    "an unknown method": b"FOO /now HTTP/1.1\r\nHost: h\r\n\r\n",
    "a method in lower case": b"get /now HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space before the method": b" GET /now HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space behind the version": b"GET /now HTTP/1.1 \r\nHost: h\r\n\r\n",
    "a space in the target": b"GET /no w HTTP/1.1\r\nHost: h\r\n\r\n",
    "a tab in the target": b"GET /no\tw HTTP/1.1\r\nHost: h\r\n\r\n",
    "a control character in the target": b"GET /no\x01w HTTP/1.1\r\nHost: h\r\n\r\n",
    "a byte above 127 in the target": b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a relative target": b"GET now HTTP/1.1\r\nHost: h\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a chunk size with a space": post(CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a sign": post(CHUNKED, body=b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with 0x": post(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a huge chunk size": post(CHUNKED, body=b"ffffffffffffffff3\r\nabc\r\n0\r\n\r\n"),
    "no chunk size": post(CHUNKED, body=b"\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a bare LF": post(CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"),
    "a chunk extension with a bare LF": post(CHUNKED, body=b"3;a\nabc\r\n0\r\n\r\n"),
    "a chunk extension with a bare CR": post(CHUNKED, body=b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "a chunk that ends with a bare LF": post(CHUNKED, body=b"3\r\nabc\n0\r\n\r\n"),
    "a chunk that is too long": post(CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk without an end": post(CHUNKED, body=b"3\r\nabc0\r\n\r\n"),
    "a length in the trailers": post(CHUNKED, body=b"0\r\nContent-Length: 5\r\n\r\n"),
    "a bare LF in the trailers": post(CHUNKED, body=b"0\r\nX-A: 1\n\r\n"),
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_two_parsers_might_read_differently_is_refused(data):
    error = refusal(data)

    assert isinstance(error, MalformedHttp)
    assert error.status() == 400


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_it_is_refused_one_byte_at_a_time_too(data):
    owner, _, error = parse(*(data[i : i + 1] for i in range(len(data))))

    assert owner.requests == []
    assert isinstance(error, MalformedHttp)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        pytest.param(post(b"Content-Length: 003", body=b"abc"), b"abc", id="leading zeros"),
        pytest.param(post(b"Content-Length: 3 ", body=b"abc"), b"abc", id="space behind a length"),
        pytest.param(post(b"Transfer-Encoding: CHUNKED"), b"", id="coding in capitals"),
        pytest.param(post(b"Transfer-Encoding:chunked"), b"", id="no space behind the colon"),
        pytest.param(post(CHUNKED, body=b"0003\r\nabc\r\n0\r\n\r\n"), b"abc", id="long chunk size"),
        pytest.param(post(CHUNKED, body=b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789", id="hex"),
        pytest.param(post(CHUNKED, body=b"3;a;b=c\r\nabc\r\n0;z\r\n\r\n"), b"abc", id="extensions"),
        pytest.param(post(b"X-A:", b"Content-Length: 1", body=b"a"), b"a", id="empty value"),
        pytest.param(post(b"X-A: \xe9\t\xff", body=b""), b"", id="bytes above 127 in a value"),
        pytest.param(post(host=b"Host:\r\n", body=b""), b"", id="empty host"),
        pytest.param(post(version=b"1.0", host=b"", body=b""), b"", id="1.0 without host"),
        pytest.param(b"\r\n\r\n" + post(body=b""), b"", id="empty lines first"),
    ],
)
def test_what_is_unusual_and_clear_is_taken(data, body):
    owner, _, error = parse(data)

    assert error is None
    assert [r.body for r in owner.requests] == [body]


# -- limits ------------------------------------------------------------------------------------------


def test_a_request_line_may_be_as_long_as_the_limit():
    target = "/" + "a" * (100 - len("GET  HTTP/1.1\r\n") - 1)

    owner, _, error = parse(request(target), request_line_bytes=100)

    assert error is None
    assert len(owner.requests) == 1


@pytest.mark.parametrize(
    "split", [pytest.param(False, id="whole"), pytest.param(True, id="by bytes")]
)
def test_a_request_line_that_is_too_long_is_refused(split):
    data = request("/" + "a" * 100)
    pieces = [data[i : i + 1] for i in range(len(data))] if split else [data]

    _, _, error = parse(*pieces, request_line_bytes=100)

    assert isinstance(error, UriTooLong)


def test_header_fields_may_be_as_large_as_the_limit():
    field = ("X-A", "a" * (100 - len("Host: h\r\n") - len("X-A: \r\n")))

    owner, _, error = parse(request(headers=[field]), header_bytes=100)

    assert error is None
    assert len(owner.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("X-A", "a" * 100)], id="one large"),
        pytest.param([(f"X{n}", "") for n in range(30)], id="many small"),
    ],
)
def test_header_fields_that_are_too_large_are_refused(headers):
    assert isinstance(refusal(request(headers=headers), header_bytes=100), HeadersTooLarge)


@pytest.mark.parametrize(
    ("begin", "cls"),
    [
        pytest.param(b"GET /now HTTP/1.1\r\nX-A: ", HeadersTooLarge, id="value"),
        pytest.param(b"GET /now HTTP/1.1\r\nX-", HeadersTooLarge, id="name"),
        pytest.param(b"GET /", UriTooLong, id="target"),
        pytest.param(b"", UriTooLong, id="empty lines"),
    ],
)
def test_what_never_ends_is_refused(begin, cls):
    filler = b"a" * 64 if begin else b"\r\n" * 32

    owner, _, error = parse(
        begin, *[filler] * 200, request_line_bytes=1000, header_bytes=1000, body_bytes=1000
    )

    assert owner.requests == []
    assert isinstance(error, cls)


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"0\r\nX-A: ", id="a trailer's value"),
        pytest.param(b"0\r\nX-", id="a trailer's name"),
        pytest.param(b"3;", id="a chunk extension"),
        pytest.param(b"3;a=", id="an extension's value"),
        pytest.param(b"0", id="a chunk size"),
    ],
)
def test_what_never_ends_behind_the_head_is_refused(begin):
    """Nobody but the parser could see it: no callback is made for it."""
    head = post(CHUNKED, body=b"1\r\na\r\n")
    filler = b"0" * 64

    _, _, error = parse(head, begin, *[filler] * 1000, header_bytes=1000)

    assert isinstance(error, HeadersTooLarge)


def test_trailers_count_as_header_fields():
    trailers = b"".join(b"X-%d: 1\r\n" % n for n in range(100))

    assert isinstance(refusal(chunked(trailers=trailers), header_bytes=500), HeadersTooLarge)


def test_a_body_may_be_as_large_as_the_limit():
    owner, _, error = parse(
        request(method="POST", body=b"a" * 10), chunked(pieces=[b"a" * 5] * 2), body_bytes=10
    )

    assert error is None
    assert [len(r.body) for r in owner.requests] == [10, 10]


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read():
    head = request(method="POST", headers=[("Content-Length", "11")])

    assert isinstance(refusal(head, body_bytes=10), PayloadTooLarge)


def test_a_chunked_body_is_refused_where_it_becomes_too_large():
    assert isinstance(refusal(chunked(pieces=[b"a" * 6] * 2), body_bytes=10), PayloadTooLarge)


def test_a_parser_that_has_refused_is_done():
    _, parser, error = parse(SMUGGLING["two hosts"])

    again = parser.feed(request())

    assert error is not None
    assert again is error


def test_progress_of_a_body_is_told_by_amount_and_not_by_pieces():
    size = 4 * BODY_PROGRESS_BYTES
    owner, parser, _ = parse(request(method="POST", headers=[("Content-Length", str(size))]))

    for _ in range(size // 1024):
        parser.feed(b"a" * 1024)

    assert owner.progress == 4
    assert len(owner.requests) == 1


def test_a_body_in_many_small_pieces_is_not_kept_in_many_small_objects():
    _, parser, _ = parse(post(CHUNKED, body=b""))
    piece = b"1\r\na\r\n"

    for _ in range(100):
        parser.feed(piece * 1000)

    assert len(parser._body) < 2 * BODY_PROGRESS_BYTES


def test_a_body_in_many_small_pieces_arrives_whole():
    data = bytes(n % 251 for n in range(3 * BODY_PROGRESS_BYTES))
    owner, _, error = parse(chunked(pieces=[data[n : n + 1] for n in range(len(data))]))

    assert error is None
    assert owner.requests[0].body == data


# -- expectations, upgrades, and the error's request -------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wants"),
    [
        pytest.param([("Content-Length", "3")], True, id="length"),
        pytest.param([("Transfer-Encoding", "chunked")], True, id="chunked"),
        pytest.param([("Content-Length", "0")], False, id="empty body"),
        pytest.param([], False, id="no body"),
    ],
)
def test_a_client_that_waits_for_100_is_noticed(given, wants):
    headers = [("Expect", "100-Continue"), *given]

    _, parser, error = parse(request(method="PUT", headers=headers))

    assert error is None
    assert parser.wants_continue is wants


def test_a_client_whose_body_came_along_does_not_wait():
    head = request(method="PUT", headers=[("Expect", "100-continue"), ("Content-Length", "3")])

    _, parser, _ = parse(head + b"a")

    assert not parser.wants_continue


def test_an_expectation_in_1_0_is_ignored():
    head = request(method="PUT", version="1.0", headers=[("Expect", "x"), ("Content-Length", "3")])

    _, parser, error = parse(head)

    assert error is None
    assert not parser.wants_continue


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("Expect", "the-unexpected")], id="another one"),
        pytest.param([("Expect", "")], id="empty"),
        pytest.param([("Expect", "a"), ("Expect", "100-continue")], id="another one first"),
        pytest.param([("Expect", "100-continue"), ("Expect", "a")], id="another one last"),
    ],
)
def test_other_expectations_are_refused(headers):
    error = refusal(request(method="PUT", headers=[*headers, ("Content-Length", "3")]))

    assert isinstance(error, ExpectationFailed)


H2C = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMA")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request("/a", headers=H2C), id="GET"),
        pytest.param(request("/a", "POST", body=b"abc", headers=H2C), id="POST"),
        pytest.param(chunked("/a", headers=H2C), id="chunked"),
        pytest.param(
            request("/a", "POST", version="1.0", body=b"abc", headers=[*H2C, H2C[0]]), id="1.0"
        ),
        pytest.param(
            request("/a", headers=[("Connection", "upgrade"), ("Upgrade", "websocket")]), id="ws"
        ),
    ],
)
def test_an_upgrade_is_ignored_and_the_request_is_read_as_it_is(data):
    """curl --http2 offers it with every first request, also with one that has a body."""
    plain = data.replace(b"Upgrade: h2c\r\n", b"").replace(b"Upgrade: websocket\r\n", b"")
    expected, _, _ = parse(plain)

    whole, _, error = parse(data)
    single, _, _ = parse(*(data[i : i + 1] for i in range(len(data))))

    assert error is None
    assert seen(whole) == seen(expected)
    assert seen(single) == seen(expected)


def test_requests_behind_an_upgrade_are_read():
    data = request("/a", "POST", body=b"abc", headers=H2C) * 300 + request("/b")

    owner, parser, error = parse(data)

    assert error is None
    assert len(owner.requests) == 301
    assert parser.is_between_requests


def test_limits_hold_for_an_upgrade():
    data = request("/a", "POST", headers=[*H2C, ("Content-Length", "11")])

    assert isinstance(refusal(data, body_bytes=10), PayloadTooLarge)


def test_connect_is_a_request_that_ends_the_connection():
    owner, _, error = parse(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n")

    assert error is None
    assert [(r.method, r.target, r.keep_alive) for r in owner.requests] == [
        (b"CONNECT", b"h:80", False)
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"%%%\r\n\r\n", (b"GET", b"/bad-request"), id="nothing is known"),
        pytest.param(b"HEAD /now HTTP/1.1\r\n\r\n", (b"HEAD", b"/now"), id="method and target"),
        pytest.param(request("/a") + b"%%%", (b"GET", b"/bad-request"), id="behind another one"),
        pytest.param(
            request("/a") + b"PUT /b HTTP/1.1\r\n\r\n", (b"PUT", b"/b"), id="behind a good one"
        ),
    ],
)
def test_what_is_known_of_a_broken_request_is_kept(data, expected):
    _, parser, _ = parse(data)

    broken = parser.broken_request()

    assert (broken.method, broken.target) == expected
    assert not broken.keep_alive


def test_the_hint_of_a_grammar_error_is_the_grammars_own_and_quotes_nobody():
    error = refusal(b"GET /now HTTP/1.1\r\nHost: h\r\nX-<script>: 1\r\n\r\n")

    assert error.hint == "Invalid header token."


def test_lenient_parsing_is_off():
    """A reminder: each of these would weaken a check above."""
    parser = httptools.HttpRequestParser(object())

    with pytest.raises(httptools.HttpParserError):
        parser.feed_data(SMUGGLING["nothing but bare LFs"])


def test_a_request_that_does_not_arrive_in_time_is_an_error_that_stays():
    _, parser, _ = parse(b"GET /now HT")

    error = parser.timed_out()

    assert isinstance(error, RequestTimeout)
    assert parser.feed(b"TP/1.1\r\nHost: h\r\n\r\n") is error


def test_the_head_of_a_pipelined_request_is_bounded_like_the_first_one():
    large = request("/b", headers=[("X-Large", "b" * 500)])

    owner, _, error = parse(request("/a") + large, header_bytes=400)

    assert [r.target for r in owner.requests] == [b"/a"]
    assert isinstance(error, HeadersTooLarge)


# -- heads that come again


def posted(body, *headers, target="/a"):
    return request(target, "POST", body=body, headers=list(headers))


def test_a_head_that_comes_again_is_not_read_again():
    owner = Owner()
    parser = RequestParser(owner, HttpLimits(), KnownHeads())
    parser.feed(posted(b"hello", ("Content-Type", "text/x"), ("Accept", "y/z")))

    (first,) = owner.requests
    second = parser.known(posted(b"again", ("Content-Type", "text/x"), ("Accept", "y/z")))

    assert second is not None
    assert second.head is first.head
    owner.requests.append(second)
    assert (first.body, second.body) == (b"hello", b"again")
    assert seen(owner)[0][:3] == seen(owner)[1][:3] == (b"POST", b"/a", first.headers)
    assert second.accept == b"y/z"
    assert second.started_at >= first.started_at > 0
    assert parser.is_between_requests


REPEATED = {
    "a longer body": [posted(b"12345"), posted(b"123456")],
    "half a body": [posted(b"12345"), posted(b"12345")[:-2], b"45"],
    "two at once": [posted(b"12345"), posted(b"12345") * 2],
    "another header": [posted(b"12345"), posted(b"12345", ("X-A", "b"))],
    "a line end behind it": [posted(b"12345") + b"\r\n", posted(b"\r\n123"), posted(b"54321")],
    "a line end before it": [b"\r\n" + posted(b"12345"), posted(b"12345"), posted(b"54321")],
    "a body like an end": [posted(b"\r\n\r\n"), posted(b"12\r\n"), posted(b"\r\n12")],
    "a close": [posted(b"1", ("Connection", "close"))],
    "1.0 after 1.1": [
        posted(b"1"),
        request("/b", version="1.0", headers=[("Connection", "keep-alive")]),
        posted(b"2"),
    ],
    "no body": [request("/a"), request("/a"), request("/b"), request("/a")],
    "chunks": [chunked("/a", [b"12"]), chunked("/a", [b"34"])],
    "an upgrade": [posted(b"1", ("Connection", "upgrade"), ("Upgrade", "x"))] * 2,
    "an expectation": [posted(b"1", ("Expect", "100-continue"))] * 2,
}


@pytest.mark.parametrize("pieces", REPEATED.values(), ids=REPEATED.keys())
def test_a_repeated_head_means_what_it_means_in_small_pieces(pieces):
    whole = b"".join(pieces)
    slowly, _, slow_error = parse(*(whole[i : i + 1] for i in range(len(whole))))

    owner, _, error = parse(*pieces)

    assert seen(owner) == seen(slowly)
    assert type(error) is type(slow_error)


def test_who_asks_for_timing_is_remembered_as_one_who_does():
    asking = posted(b"12345", ("X-TSL-Timing", "1"))

    owner, _, _ = parse(posted(b"1"), asking, asking, posted(b"1"))

    assert [each.head.wants_timing for each in owner.requests] == [False, True, True, False]


def test_a_head_with_an_expectation_is_read_each_time():
    waiting = posted(b"12345", ("Expect", "100-continue"))
    parser = parse(waiting)[1]

    assert parser.known(waiting) is None
    parser.feed(waiting[:-5])

    assert parser.wants_continue


def test_what_is_known_is_forgotten_with_an_error():
    owner, parser, _ = parse(posted(b"1"))
    error = parser.feed(b"%%%")

    assert parser.known(posted(b"1")) is None
    assert parser.feed(posted(b"1")) is error
    assert len(owner.requests) == 1


def test_heads_are_known_on_other_connections_too():
    owner, heads = Owner(), KnownHeads()
    RequestParser(owner, HttpLimits(), heads).feed(posted(b"1"))

    known = RequestParser(owner, HttpLimits(), heads).known(posted(b"2"))

    assert known is not None
    assert known.head is owner.requests[0].head


def test_several_heads_are_known_at_a_time():
    owner, parser, _ = parse(posted(b"1", target="/a"), posted(b"22", target="/b"))

    again = [parser.known(posted(b"3", target="/a")), parser.known(posted(b"44", target="/b"))]

    assert [each.head for each in again] == [each.head for each in owner.requests]


def test_long_heads_are_not_remembered():
    heads = KnownHeads()
    parser = RequestParser(Owner(), HttpLimits(), heads)

    parser.feed(posted(b"1", ("X-Long", "a" * MAX_HEAD_BYTES)))

    assert len(heads) == 0


def test_not_more_heads_are_remembered_than_there_is_room_for():
    heads = KnownHeads()
    parser = RequestParser(Owner(), HttpLimits(), heads)

    for number in range(MAX_HEADS + 10):
        parser.feed(posted(b"1", ("X-Number", f"{number}")))

    assert 0 < len(heads) <= MAX_HEADS
    assert parser.known(posted(b"1", ("X-Number", f"{MAX_HEADS + 9}"))) is not None


# -- authorization --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "noted"),
    [
        ((), b""),
        ((("authorization", "Bearer k "),), b"Bearer k"),
        ((("Authorization", "Bearer k"), ("AUTHORIZATION", "Bearer l")), b"Bearer k, Bearer l"),
    ],
)
def test_what_a_client_shows_is_noted(headers, noted):
    owner, _, _ = parse(request(headers=headers))

    (seen_request,) = owner.requests
    assert seen_request.authorization == noted
    assert len(seen_request.headers) == 2 + 2 * len(headers)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param((), id="plain"),
        pytest.param((("Upgrade", "h2c"), ("Connection", "Upgrade")), id="upgrade"),
    ],
)
def test_what_is_for_the_server_alone_is_not_among_the_headers(more):
    owner = Owner()
    parser = RequestParser(owner, HttpLimits(), KnownHeads(), withholds_authorization=True)
    headers = (("A", "1"), ("AuthoriZation", "Bearer k"), *more, ("Z", "2"))
    data = request("/x", "POST", body=b"b", headers=headers)

    for _ in range(3):
        assert take(parser, owner, data) is None

    assert len(owner.requests) == 3
    for each in owner.requests:
        assert each.authorization == b"Bearer k"
        assert b"A" in each.headers
        assert b"Z" in each.headers
        assert not any(b"Bearer" in part or b"uthor" in part for part in each.headers)
