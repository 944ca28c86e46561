"""Random and damaged bytes on a worker's socket end in frames or in `ProtocolError`.

Runs for a bounded time. A failure prints the number that made the example:
`random.Random(number)` makes it again. What once failed is kept below.
"""

from __future__ import annotations

import random
import time

import msgpack
import pytest
from fuzzing import first_number

from tsl.protocol.codec import PREFIX, FrameDecoder, encode
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import (
    FRAME_TYPES,
    Chunk,
    Failure,
    Fork,
    Hello,
    MetricRecord,
    Metrics,
    Part,
    Ping,
    Predict,
    Reply,
    Result,
    Row,
)

pytestmark = pytest.mark.fuzz

SECONDS = 1.5
SEEDS = [
    b"".join(encode(frame))
    for frame in (
        Hello(1, "w", "t", 5),
        Predict(1, [Row("r", [b"a", b"b"], ["c", "d"], [Part("n", "t/t", b"body" * 5)])] * 2),
        Result(1, 9, [Reply(200, "OK", ["a", "b"], "", b"x" * 20), Reply(0, "", [], "e", b"")]),
        Chunk(1, 0, 0, "", ["a", "b"], b"piece"),
        Failure(1, "handler_failed", "m", 0),
        Metrics([MetricRecord("n", "ms", "GAUGE", 1.0, ["a", "b"], "", 1)] * 2),
        Fork("w", ["a"], ["A", "1"], "/m", ["torch"], "s", b"load"),
    )
]
KEPT = {
    "headers that are nil": [5, 1, 1, [[0, "", None, "", 0]]],
    "dimensions without a value": [9, [["n", "u", "GAUGE", 1.0, ["odd"], "", 1]]],
    "parts that are a map": [4, 1, [["r", [], [], {}]]],
}


def numbers():
    """Numbers for `random.Random`, for a bounded time."""
    end = time.monotonic() + SECONDS
    number = first_number()
    while time.monotonic() < end:
        yield number
        number += 1


def value(rng, depth=0):
    """Any msgpack value, with a liking for what frames are made of."""
    kind = rng.randrange(12 if depth < 5 else 9)
    if kind < 3:
        return rng.choice((0, 1, -1, 2, 5, 127, 2**31, 2**63, 2**64 - 1, -(2**63)))
    if kind < 5:
        return "x" * rng.randrange(4)
    if kind == 5:
        return b"x" * rng.randrange(4)
    if kind == 6:
        return rng.choice((None, True, False, 0.5, float("nan"), float("inf")))
    if kind == 7:
        return msgpack.ExtType(rng.randrange(128), b"x" * rng.randrange(5))
    if kind == 8:
        return msgpack.Timestamp(rng.randrange(2**32), rng.randrange(10**9))
    if kind == 9:
        return {"x" * rng.randrange(4): value(rng, depth + 1) for _ in range(rng.randrange(3))}
    return [value(rng, depth + 1) for _ in range(rng.randrange(6))]


def damaged(rng):
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at : at + rng.randint(1, 4)]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        else:
            data[at:at] = data[at : at + 8]
    if rng.randrange(2) and len(data) > PREFIX.size:  # let the prefix fit again
        size = len(data) - PREFIX.size
        data[: PREFIX.size] = PREFIX.pack(size, min(PREFIX.unpack_from(data)[1], size))
    return bytes(data)


def framed(header, bodies=b""):
    return PREFIX.pack(len(header) + len(bodies), len(header)) + header + bodies


def check(data, number):
    """Decode, whole; what comes out can be sent again."""
    try:
        for frame in FrameDecoder(max_body_bytes=10**6).feed(data):
            assert type(frame) in FRAME_TYPES
            encode(frame)
    except ProtocolError:
        return
    except BaseException as error:
        pytest.fail(f"{number}: {data!r}: {error!r}")


def test_random_bytes():
    for number in numbers():
        rng = random.Random(number)
        check(rng.randbytes(rng.randrange(60)), number)


def test_random_headers():
    for number in numbers():
        rng = random.Random(number)
        header = [rng.randrange(len(FRAME_TYPES)), *(value(rng) for _ in range(rng.randrange(7)))]
        check(framed(msgpack.packb(header), rng.randbytes(rng.randrange(4))), number)


def test_damaged_frames():
    for number in numbers():
        check(damaged(random.Random(number)), number)


@pytest.mark.parametrize("header", KEPT.values(), ids=KEPT.keys())
def test_kept_examples(header):
    with pytest.raises(ProtocolError):
        FrameDecoder().feed(framed(msgpack.packb(header)))


def test_a_good_frame_is_one():
    assert FrameDecoder().feed(b"".join(encode(Ping(1)))) == [Ping(1)]
