"""What our parser accepts, a second, strict parser accepts with the same meaning.

Request smuggling needs two parsers that read the same bytes differently. Valid requests are
mutated, and each request that `RequestParser` reports must be reported by h11, too: with the same
method, target, version, headers and body, hence the same boundaries. The other way round nothing
is asked: we may refuse more.

Deliberate exceptions, none of which moves a boundary:

* h11 insists on one space between method and target, llhttp skips several;
* h11 does not skip an empty line before a request, RFC 9112 (2.2) asks servers to do so;
* llhttp also knows the protocol names RTSP and ICE, which no HTTP proxy sends;
* llhttp skips any number of zeros before a chunk size, h11 takes 20 digits at most.

`Upgrade` is left out of our headers, because it is ignored.
"""

from __future__ import annotations

import re

import h11
from http_client import chunked, request
from hypothesis import given, settings
from hypothesis import strategies as st

from tsl.frontend.http_api.context import HttpLimits
from tsl.frontend.http_api.known_heads import KnownHeads
from tsl.frontend.http_api.parser import RequestParser

EXCEPTIONS = {
    "illegal request line": rb"[A-Z]  |RTSP/|ICE/|^[\r\n]|\n[\r\n]*\n",
    "no request line received": rb"^[\r\n]|\n[\r\n]*\n",
    "illegal chunk header": rb"0{10}",
}

SEEDS = [
    request("/a"),
    request("/a?b=c&d", headers=[("X-A", "b"), ("Accept", "*/*"), ("Connection", "keep-alive")]),
    request("/a", "POST", body=b"hello"),
    request("/a", "POST", body=b""),
    request("/a", "HEAD", version="1.0"),
    request("/a", "POST", version="1.0", body=b"hello", headers=[("Connection", "Keep-Alive")]),
    request("/a", headers=[("Connection", "close")]),
    request("/a", "PUT", body=b"hi", headers=[("Expect", "100-continue")]),
    request("/a", "POST", body=b"hi", headers=[("Connection", "Upgrade"), ("Upgrade", "h2c")]),
    request("*", "OPTIONS"),
    request("http://h/a"),
    chunked("/a"),
    chunked("/a", [b"x" * 20], extension=b';a="b"', trailers=b"X-T: 1\r\n"),
    chunked("/a", []),
]
NASTY = [
    *(bytes([n]) for n in (0, 1, 9, 10, 11, 12, 13, 32, 34, 44, 58, 59, 127, 128, 255)),
    *(b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b"\r\n ", b"\r\n\t", b" \r\n", b"\x00\r\n"),
    *(b": ", b" :", b"::", b"; ", b", ", b"-", b"+", b"0", b"00", b"0x", b"1", b"_", b"f", b"G"),
    *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"content-length:5\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"chunked", b", "),
    *(b"Transfer-Encoding: x, chunked\r\n", b"Transfer-Encoding:\x0bchunked\r\n", b"xchunked"),
    *(b"Host: g\r\n", b"Host:\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n"),
    *(b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"X-A: 1\r\n 2\r\n", b"X_A: 1\r\n"),
    *(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9"),
    *(
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"5;a\r\n",
        b"GET",
        b"POST ",
        b"CONNECT ",
        b"HEAD ",
        b"http://",
    ),
]

MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete", "repeat", "swap case"]),
        st.integers(min_value=0, max_value=400),
        st.integers(min_value=1, max_value=12),
        st.sampled_from(NASTY),
    ),
    max_size=4,
)
STREAMS = st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3).map(b"".join)


def mutate(data, mutations):
    """Apply mutations, each at a place of its own."""
    for kind, place, size, nasty in mutations:
        at = place % (len(data) + 1)
        if kind == "insert":
            data = data[:at] + nasty + data[at:]
        elif kind == "replace":
            data = data[:at] + nasty + data[at + len(nasty) :]
        elif kind == "delete":
            data = data[:at] + data[at + size :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + size] + data[at:]
        else:
            data = data[:at] + data[at : at + size].swapcase() + data[at + size :]
    return data


class Owner:
    def __init__(self):
        self.requests = []

    def request_complete(self, request):
        self.requests.append(request)

    def body_progress(self):
        pass


def ours(data):
    """Requests as our parser reports them, until one that ends the connection."""
    owner = Owner()
    RequestParser(owner, HttpLimits(), KnownHeads()).feed(data)
    found = []
    for item in owner.requests:
        pairs = list(zip(item.headers[::2], item.headers[1::2], strict=True))
        if any(name.lower() == b"transfer-encoding" for name, _ in pairs):
            pairs.pop()  # the length we add for the handler
        version = b"1.1" if item.is_http_1_1 else b"1.0"
        found.append((item.method, item.target, version, normal(pairs), item.body))
        if not item.keep_alive:
            break
    return found


def theirs(data):
    """Requests as h11 reports them, and why it stopped."""
    found = []
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
    server.receive_data(data)
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                head, body = event, []
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                pairs = normal(head.headers.raw_items())
                version = bytes(head.http_version)
                found.append((head.method, head.target, version, pairs, b"".join(body)))
                server.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
                    return found, "closed"
                server.start_next_cycle()
            else:
                return found, "needs data"
    except h11.RemoteProtocolError as error:
        return found, str(error)


def normal(pairs):
    """Header fields without what may differ: case of names and blanks around values."""
    return [
        (name.lower(), value.strip(b" \t").lower() if name.lower() in FREE_CASE else value.strip())
        for name, value in pairs
        if name.lower() != b"upgrade"
    ]


FREE_CASE = (b"transfer-encoding",)


def check(data):
    """Fail when we accept what h11 does not, or read it differently."""
    reference, reason = theirs(data)
    for number, item in enumerate(ours(data)):
        if number == len(reference):
            if reason == "closed":
                return  # h11 knows no keep-alive in HTTP/1.0
            excuse = next((EXCEPTIONS[key] for key in EXCEPTIONS if key in reason), None)
            assert excuse, f"h11: {reason}; we accept {item} of {data!r}"
            assert re.search(excuse, data), f"h11: {reason}; we accept {item} of {data!r}"
            return
        assert item == reference[number], f"of {data!r}"


def test_the_seeds_mean_the_same_to_both():
    """The comparison is not empty: both take all of them."""
    for seed in SEEDS:
        assert ours(seed) == theirs(seed)[0] != []
        check(seed)


@settings(max_examples=1500, deadline=None)
@given(STREAMS, MUTATIONS)
def test_what_we_accept_h11_accepts_with_the_same_meaning(data, mutations):
    check(mutate(data, mutations))
