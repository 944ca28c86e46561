"""Any bytes at an HTTP connection end in proper responses or a closed connection, never in a bug.

The corpus in ``corpus/http`` is replayed first, then its files are damaged at random for a bounded
time. A failure prints the number that made the example (`random.Random(number)` makes it again);
an example that found a bug is kept in the corpus.
"""

from __future__ import annotations

import math
import random
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from fuzzing import first_number
from http_client import HttpPlay, request

from tsl.frontend.http_api.body import parts_of
from tsl.frontend.http_api.router import decode_path
from tsl.protocol.errors import InvalidRequest

pytestmark = pytest.mark.fuzz

SECONDS = 2.0
CORPUS = {
    path.name: path.read_bytes() for path in sorted(Path(__file__).parent.glob("corpus/http/*"))
}
STATUS_LINE = re.compile(rb"HTTP/1\.1 \d{3} ")
LONG_EXTENSION = re.compile(rb";[^\r\n]{400}")
"""Refused when it arrives slowly, and overlooked when it comes at once."""
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"%", b"\xff", b"\r\n\r\n"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: h\r\n", b"HTTP/1.0"),
    *(b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n", b"CONNECT "),
    *(b"Expect: 100-continue\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffff\r\n", b"HEAD "),
]
FORMS = [
    ("application/x-www-form-urlencoded", b"a=1&b=%20+&c&=d&a=2"),
    (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="f"\r\nContent-Type: a/b\r\n\r\n'
        b'x\r\n--b\r\nContent-Disposition: form-data; name="c"\r\n\r\ny\r\n--b--\r\n',
    ),
]


def damage(data, rng):
    """Change, cut, repeat or insert a few bytes."""
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(data) + 1)
        size = rng.choice((1, 1, 2, 4, 16, 200))
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:at] + rng.randbytes(1) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + size :]
        elif kind == 2:
            data = data[:at] + data[at : at + size] * rng.choice((2, 2, 50)) + data[at:]
        elif kind == 3:
            data = data[:at] + rng.randbytes(size) + data[at:]
        else:
            data = data[:at] + rng.choice(TOKENS) + data[at:]
    return data


def damaged(seeds):
    """Damaged examples with the number that makes each, for a bounded time."""
    end = time.monotonic() + SECONDS
    number = first_number()
    while time.monotonic() < end:
        rng = random.Random(number)
        yield number, rng, damage(rng.choice(seeds), rng)
        number += 1


def play_out(pieces):
    """Run a connection to its end and check what must hold whatever was sent."""
    play = HttpPlay(request_line_bytes=200, header_bytes=400, body_bytes=500, pipelined=4)
    play.feed(*pieces)
    answered = 0
    while answered < len(play.jobs):
        assert len(play.jobs) == answered + 1, "one job of a connection at a time"
        play.answer(b"answer", at=answered)
        answered += 1
    methods = [method.decode() for _, method, _, _ in play.access_log.lines]
    sent = bytes(play.transport.sent).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    assert len(STATUS_LINE.findall(sent)) == len(methods)
    assert all(response.is_complete for response in play.responses(methods))
    assert play.stats.statuses == [status for *_, status in play.access_log.lines]
    assert 500 not in play.stats.statuses
    assert play.transport.is_reading or play.is_closed
    assert play.connection.deadline < math.inf
    for _ in range(3):
        play.tick(1000)
    assert play.transport.is_lost
    assert play.connections == set()
    return play.stats.statuses, [(r.method, r.target, r.body) for r in play.requests]


def cut(data, rng):
    """Random pieces of some bytes."""
    marks = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 6)))
    marks = [0, *marks, len(data)]
    return [data[a:b] for a, b in pairwise(marks) if a < b]


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_answered_alike_whole_and_by_bytes(name):
    data = CORPUS[name]

    assert play_out([data]) == play_out([data[i : i + 1] for i in range(len(data))])


def test_damaged_requests_are_answered_or_refused():
    count = 0
    for number, rng, data in damaged(list(CORPUS.values())):
        count += 1
        try:
            whole, split = play_out([data]), play_out(cut(data, rng))
            assert whole == split or LONG_EXTENSION.search(data)
        except Exception as error:
            pytest.fail(f"seed {number}: {error!r} for {data!r}")
    assert count > 10


def test_random_bytes_are_answered_or_refused():
    for number, rng, _ in damaged([b""]):
        data = rng.randbytes(rng.choice((1, 10, 100, 1000)))
        try:
            play_out(cut(data, rng))
        except Exception as error:
            pytest.fail(f"seed {number}: {error!r} for {data!r}")


@pytest.mark.parametrize(("content_type", "form"), FORMS, ids=["urlencoded", "multipart"])
def test_damaged_forms_are_split_or_refused(content_type, form):
    for number, rng, data in damaged([form]):
        given = content_type
        if rng.random() < 0.3:
            given = damage(content_type.encode(), rng).decode("latin-1")
        try:
            for part in parts_of(given, data):
                assert isinstance(part.name, str)
                assert isinstance(part.content_type, str)
                assert isinstance(part.body, bytes)
                part.name.encode()  # a frame carries it as UTF-8
        except InvalidRequest:
            pass
        except Exception as error:
            pytest.fail(f"seed {number}: {error!r} for {given!r} {data!r}")


def test_damaged_paths_are_decoded_or_refused():
    for number, _, data in damaged([b"/predictions/a%20b/%C3%A4//x%2f", b"http://h:1/a?b"]):
        try:
            decode_path(data).encode()
        except InvalidRequest:
            pass
        except Exception as error:
            pytest.fail(f"seed {number}: {error!r} for {data!r}")


def test_the_corpus_is_there():
    assert len(CORPUS) > 20
    assert request("/now") in CORPUS.values()
