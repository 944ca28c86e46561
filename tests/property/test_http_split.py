"""However the bytes of a connection are cut into pieces, requests and responses are the same."""

from __future__ import annotations

from itertools import pairwise

from http_client import HttpPlay, chunked, request
from hypothesis import given, settings
from hypothesis import strategies as st

BODIES = st.binary(max_size=60)
TARGETS = st.sampled_from(
    ["/now", "/now/a%20b?c=d", "/later", "/later/x", "/status/204", "/status/201", "/none", "/%zz"]
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["X-A", "Accept", "Content-Type", "Connection", "Expect", "Upgrade"]),
        st.sampled_from(["", "a/b", "keep-alive", "close", "100-continue", "upgrade", "h2c"]),
    ),
    max_size=3,
)
PLAIN = st.builds(
    request,
    TARGETS,
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"]),
    body=st.none() | BODIES,
    headers=HEADERS,
    version=st.sampled_from(["1.1", "1.1", "1.1", "1.0"]),
    host=st.sampled_from([True, True, True, False]),
)
CHUNKED = st.builds(
    chunked,
    TARGETS,
    st.lists(st.binary(min_size=1, max_size=20), max_size=4),
    headers=HEADERS,
    trailers=st.sampled_from([b"", b"X-T: 1\r\n", b"X-T: 1\r\nX-U:\r\n"]),
    extension=st.sampled_from([b"", b";a", b';a="b;c"']),
)
CONNECTIONS = st.lists(PLAIN | CHUNKED | st.sampled_from([b"\r\n", b"%%%"]), max_size=6).map(
    b"".join
)


def outcome(pieces):
    """What a client sees and the application is asked for; jobs are answered when all is sent.

    Two things may depend on the timing, rightly: whether the client is told to go on, and
    request ids.
    """
    play = HttpPlay()
    play.feed(*pieces)
    answered = 0
    while answered < len(play.jobs):
        play.answer(b"answer %d" % answered, at=answered)
        answered += 1
    sent = bytes(play.transport.sent).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    lines = [line for line in sent.split(b"\r\n") if not line.startswith(b"x-request-id: ")]
    asked = [(r.method, r.target, r.headers, r.body) for r in play.requests]
    return lines, asked, play.is_closed


@settings(max_examples=300, deadline=None)
@given(CONNECTIONS)
def test_one_byte_at_a_time_makes_no_difference(data):
    whole = outcome([data])

    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


@settings(max_examples=300, deadline=None)
@given(CONNECTIONS, st.lists(st.integers(min_value=0, max_value=600)))
def test_no_cut_makes_a_difference(data, cuts):
    whole = outcome([data])
    marks = [0, *sorted(cuts), len(data)]

    assert outcome([data[a:b] for a, b in pairwise(marks) if a < b]) == whole


FEW = st.builds(
    request,
    st.sampled_from(["/now", "/later"]),
    st.just("POST"),
    body=st.sampled_from([b"", b"12", b"34", b"\r\n", b"\r\n\r\n", b"1234"]),
    headers=st.sampled_from([[], [("Connection", "close")], [("Expect", "100-continue")]]),
    version=st.sampled_from(["1.1", "1.1", "1.1", "1.0"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(FEW | st.sampled_from([b"\r\n", b"12"]), max_size=8))
def test_requests_that_repeat_others_are_understood_as_if_they_did_not(pieces):
    """Whole requests, one to a piece: what a parser may recognise without reading it."""
    data = b"".join(pieces)

    assert outcome(pieces) == outcome([data[i : i + 1] for i in range(len(data))])
