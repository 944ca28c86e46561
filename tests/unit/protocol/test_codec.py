"""Bytes to frames: limits, views, and every way in which bytes can be no frame."""

from __future__ import annotations

import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsl.protocol import codec
from tsl.protocol.codec import (
    MAX_HEADER_BYTES,
    PREFIX,
    PREFIX_BYTES,
    SHORT_BYTES,
    FrameDecoder,
    RowEncoder,
    encode,
)
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import (
    FRAME_TYPES,
    Cancel,
    Chunk,
    Done,
    Exited,
    Failure,
    Fork,
    Forked,
    ForkRefused,
    Hello,
    Load,
    Loaded,
    LoadFailure,
    MetricRecord,
    Metrics,
    Part,
    Ping,
    Pong,
    Predict,
    Preload,
    Reply,
    Result,
    Row,
    Shutdown,
    Unshare,
)

RECORD = MetricRecord("n", "ms", "GAUGE", 1.5, ["Level", "Model"], "a,b", 1_700_000_000)
EXAMPLES = [
    Hello(1, "w#1", "secret", 42),
    Load("m", "/m", "h.py:f", "json", 4, -1, True, 6_553_500, False, ""),
    Loaded(12.5),
    LoadFailure("load_failed", "ModuleNotFoundError: x"),
    Predict(
        7,
        [
            Row("r1", [b"Host", b"a"], ["explain", "False"], [Part("body", "a/b", b"one")]),
            Row("r2", [], [], [Part("x", "", b""), Part("x", "", b"two")]),
        ],
    ),
    Result(7, 1234, [Reply(0, "", [], "", b"yes"), Reply(400, "No", ["a", "b"], "e", b"why")]),
    Chunk(7, 1, 200, "OK", ["a", "b"], b"piece"),
    Failure(7, "handler_failed", "", 0),
    Cancel(7, 1),
    Metrics([RECORD]),
    Ping(1),
    Pong(1),
    Shutdown("scaled down"),
    Fork("w#2", ["--socket", "s"], ["A", "1"], "/m", ["torch"], "m/1.0", b"load"),
    Forked("w#2", 43),
    ForkRefused("w#2", "threads"),
    Exited("w#2", -9),
    Unshare("m/1.0"),
    Done(7),
    Preload(["torch"], ["A", "1"]),
]
NUMBER = {cls: number for number, cls in enumerate(FRAME_TYPES)}

every_example = pytest.mark.parametrize("frame", EXAMPLES, ids=lambda f: type(f).__name__)


def wire(frame):
    return b"".join(encode(frame))


def packed(header, bodies=b""):
    """A frame around any header."""
    if not isinstance(header, bytes):
        header = msgpack.packb(header)
    return PREFIX.pack(len(header) + len(bodies), len(header)) + header + bodies


def refuse(data, match=None, **limits):
    with pytest.raises(ProtocolError, match=match):
        FrameDecoder(**limits).feed(data)


# -- round trip


def row_of(number, headers, properties, *parts):
    return Row(f"r{number}", headers, properties, [Part(*part) for part in parts])


HEADERS, PROPERTIES, TYPE = [b"Host", b"a"], ["explain", "False"], "a/b"
SAME = [row_of(n, HEADERS, PROPERTIES, ("body", TYPE, b"%d" % n)) for n in range(5)]
FORM = row_of(9, HEADERS, PROPERTIES, ("x", TYPE, b"1"), ("body", TYPE, b"2"))
OTHER = row_of(8, [b"Host", b"b"], PROPERTIES, ("body", TYPE, b"8"))
TYPED = row_of(7, HEADERS, PROPERTIES, ("body", "c/d", b"7"))
MARKED = row_of(6, HEADERS, ["explain", "True"], ("body", TYPE, b"6"))
NAMED = row_of(5, HEADERS, PROPERTIES, ("x", TYPE, b"5"))


@pytest.mark.parametrize(
    "rows",
    [SAME]
    + [[*SAME[:2], odd, *SAME[2:], odd] for odd in (FORM, OTHER, TYPED, MARKED, NAMED)]
    + [[FORM, NAMED, *SAME, OTHER, TYPED, MARKED, SAME[0]]],
)
def test_rows_with_something_in_common_are_told_apart(rows):
    assert FrameDecoder().feed(wire(Predict(1, rows))) == [Predict(1, rows)]


def test_what_rows_have_in_common_is_sent_once():
    assert wire(Predict(1, SAME)).count(b"Host") == 1


def frames_of(*batches):
    """What an encoder makes of batches, and a decoder of that."""
    encoder, decoder = RowEncoder(), FrameDecoder()
    data = [b"".join(encoder.encode(number, rows)) for number, rows in enumerate(batches)]
    return data, [frame for each in data for frame in decoder.feed(each)]


def test_a_frame_refers_to_those_before_it():
    batches = [SAME[:1], SAME[1:2], [OTHER], [FORM], [OTHER], SAME[:2]]

    data, frames = frames_of(*batches)

    assert [frame.rows for frame in frames] == batches
    assert [b"Host" in each for each in data] == [True, False, True, True, False, True]


TENSORS = [
    row_of(n, HEADERS, PROPERTIES, ("body", TYPE, b"{}" * n), ("tensors", "c/d", b"%d" % n))
    for n in range(5)
]
LONGER = row_of(4, HEADERS, PROPERTIES, *[("x", TYPE, b"1")] * 3)
NOTHING = row_of(3, HEADERS, PROPERTIES)


@pytest.mark.parametrize(
    "odd",
    [
        FORM,
        LONGER,
        NOTHING,
        SAME[0],
        TENSORS[1]._replace(headers=[b"Host", b"b"]),
        TENSORS[1]._replace(properties=["explain", "True"]),
        row_of(1, HEADERS, PROPERTIES, ("body", TYPE, b"{}"), ("tensors", "e/f", b"1")),
        row_of(1, HEADERS, PROPERTIES, ("body", TYPE, b"{}"), ("other", "c/d", b"1")),
    ],
)
def test_rows_with_several_parts_are_told_apart(odd):
    batches = [[*TENSORS[:2], odd, *TENSORS[2:], odd], [odd, *TENSORS], [TENSORS[0], odd, odd]]

    assert [frame.rows for frame in frames_of(*batches)[1]] == batches


def test_what_rows_with_several_parts_have_in_common_is_sent_once():
    data, _ = frames_of(TENSORS, [SAME[0]], TENSORS)

    assert [each.count(b"c/d") for each in data] == [1, 0, 0]


def test_a_frame_that_cannot_be_sent_is_not_referred_to(monkeypatch):
    encoder = RowEncoder()
    with monkeypatch.context() as patch:
        patch.setattr(codec, "MAX_HEADER_BYTES", 8)
        with pytest.raises(ProtocolError):
            encoder.encode(1, SAME)

    assert FrameDecoder().feed(b"".join(encoder.encode(2, SAME))) == [Predict(2, SAME)]


def test_what_is_forgotten_is_sent_again():
    encoder = RowEncoder()
    encoder.encode(1, SAME)
    encoder.forget()

    assert FrameDecoder().feed(b"".join(encoder.encode(2, SAME))) == [Predict(2, SAME)]


def test_plain_and_other_replies_are_told_apart():
    plain, empty = Reply(0, "", [], "", b"one"), Reply(0, "", [], "", b"")
    others = [
        plain._replace(status=200),
        plain._replace(phrase="p"),
        plain._replace(headers=["a", "b"]),
        plain._replace(error="e"),
    ]
    result = Result(1, 2, [plain, *others, empty, plain])

    assert FrameDecoder().feed(wire(result)) == [result]


@pytest.mark.parametrize("size", [0, 1, SHORT_BYTES])
def test_a_short_plain_reply_alone_has_no_header(size):
    result = Result(2**40, 2, [Reply(0, "", [], "", b"x" * size)])
    data = wire(result)

    assert len(data) == PREFIX_BYTES + 8 + 4 + size
    assert FrameDecoder().feed(data) == [result]
    decoder = FrameDecoder()
    assert [frame for at in range(len(data)) for frame in decoder.feed(data[at : at + 1])] == [
        result
    ]
    assert decoder.is_empty


def test_a_longer_plain_reply_has_one():
    result = Result(1, 2, [Reply(0, "", [], "", b"x" * (SHORT_BYTES + 1))])

    assert PREFIX.unpack_from(wire(result))[1] > 0
    assert FrameDecoder().feed(wire(result)) == [result]


def test_a_time_in_the_handler_that_does_not_fit_is_cut():
    [result] = FrameDecoder().feed(wire(Result(1, 2**40, [Reply(0, "", [], "", b"")])))

    assert result.service_us == 2**32 - 1


@pytest.mark.parametrize("size", [0, 11, 12 + SHORT_BYTES + 1])
def test_other_frames_need_a_header(size):
    refuse(PREFIX.pack(size, 0), "without a header")


REPLIES = st.builds(
    Reply,
    st.sampled_from([0, 0, 0, 200]),
    st.sampled_from(["", "", "", "p"]),
    st.sampled_from([[], ["a", "b"], ["a", "b"], ["a", "c"]]),
    st.sampled_from(["", "", "", "e"]),
    st.binary(max_size=2),
)


@given(st.lists(REPLIES, max_size=8))
def test_replies_with_headers_in_common_are_told_apart(replies):
    result = Result(1, 2, replies)

    assert FrameDecoder().feed(wire(result)) == [result]


def test_headers_that_replies_have_in_common_are_sent_once():
    replies = [Reply(0, "", ["name", "value"], "", body) for body in (b"1", b"", b"33")]

    assert wire(Result(1, 2, replies)).count(b"value") == 1


def test_there_is_an_example_of_every_frame_type():
    assert [type(frame) for frame in EXAMPLES] == list(FRAME_TYPES)


@every_example
def test_whole(frame):
    decoder = FrameDecoder()

    assert decoder.feed(wire(frame)) == [frame]
    assert decoder.is_empty
    assert decoder.missing == PREFIX.size


@every_example
def test_byte_by_byte(frame):
    decoder, data = FrameDecoder(), wire(frame)

    for at in range(len(data) - 1):
        assert decoder.feed(data[at : at + 1]) == []
        assert not decoder.is_empty
        assert 0 < decoder.missing <= len(data) - at - 1
    assert decoder.feed(data[-1:]) == [frame]


def test_several_frames_at_once_and_the_start_of_another():
    decoder = FrameDecoder()
    data = b"".join(map(wire, EXAMPLES))

    assert decoder.feed(data + data[:11]) == EXAMPLES
    assert decoder.feed(data[11:]) == EXAMPLES
    assert decoder.is_empty


def test_nothing_fed_is_nothing_found():
    decoder = FrameDecoder()

    assert decoder.feed(b"") == []
    assert decoder.is_empty


def test_missing_is_exact_once_the_prefix_is_known():
    decoder, data = FrameDecoder(), wire(EXAMPLES[4])

    decoder.feed(data[:3])
    assert decoder.missing == PREFIX.size - 3
    decoder.feed(data[3:20])
    assert decoder.missing == len(data) - 20


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_a_body(kind):
    chunk = Chunk(1, 0, 0, "", [], kind(b"data"))

    (received,) = FrameDecoder().feed(wire(chunk))

    assert bytes(received.body) == b"data"


# -- copies


def test_bodies_are_not_copied_into_the_encoding():
    body = b"x" * 1000

    buffers = encode(Result(1, 1, [Reply(0, "", [], "", body)]))

    assert buffers[1] is body


def test_bodies_are_views_of_what_arrived():
    data = wire(EXAMPLES[4])

    (predict,) = FrameDecoder().feed(data)

    for row in predict.rows:
        for part in row.parts:
            assert type(part.body) is memoryview
            assert part.body.obj is data


# -- limits


def test_a_frame_that_does_not_fit_the_wire_format_is_not_encoded():
    class Huge(bytes):
        def __len__(self):
            return 2**32

    with pytest.raises(ProtocolError, match="does not fit the wire format"):
        encode(Chunk(1, 0, 0, "", [], Huge()))


def test_a_header_that_the_other_side_would_refuse_is_not_encoded():
    name = "x" * (MAX_HEADER_BYTES // 2)
    rows = [Row("r", [], [], [Part(name, "", b"")])] * 2

    assert encode(Predict(1, rows[:1]))
    with pytest.raises(ProtocolError, match="exceeds the limit"):
        encode(Predict(1, rows))


def test_a_header_within_its_limit_passes_and_one_byte_more_does_not():
    data = wire(Shutdown("x" * 100))
    size = PREFIX.unpack_from(data)[1]

    assert FrameDecoder(max_header_bytes=size).feed(data)
    refuse(data, "exceeds the limit", max_header_bytes=size - 1)


def test_bodies_within_their_limit_pass_and_one_byte_more_does_not():
    data = wire(Chunk(1, 0, 0, "", [], b"x" * 100))

    assert FrameDecoder(max_body_bytes=100).feed(data)
    refuse(data, "exceeds the limit", max_body_bytes=99)


@pytest.mark.parametrize(
    ("size", "header", "match"),
    [
        (10, 11, "header larger than its frame"),
        (0, 1, "header larger than its frame"),
        (2**32 - 1, 2**32 - 1, "frame header"),
        (MAX_HEADER_BYTES + 1, MAX_HEADER_BYTES + 1, "frame header"),
        (2**32 - 1, 1, "frame of"),
    ],
)
def test_announced_sizes_are_refused_as_soon_as_the_prefix_is_there(size, header, match):
    decoder = FrameDecoder()
    prefix = PREFIX.pack(size, header)

    assert decoder.feed(prefix[:7]) == []
    with pytest.raises(ProtocolError, match=match):
        decoder.feed(prefix[7:])


def test_no_memory_is_taken_for_what_is_only_announced():
    tracemalloc.start()
    decoder = FrameDecoder()

    decoder.feed(PREFIX.pack(1024**3, 1000) + b"x" * 100)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000
    assert decoder.missing == 900  # the rest of the header


@pytest.mark.parametrize(
    "header",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 100_000 + b"\xc0",
        b"\x81\xa0" * 100_000 + b"\xc0",
        (b"\xdd" + struct.pack(">I", 50_000)) * 1000,
    ],
    ids=["array", "map", "text", "binary", "ext", "deep arrays", "deep maps", "wide and deep"],
)
def test_a_header_that_promises_much_is_refused_without_much_memory(header):
    tracemalloc.start()

    refuse(packed(header))

    tracemalloc.stop()


# -- malformed: the header as such

UNREADABLE = {
    "empty": b"",
    "not msgpack": b"\xc1",
    "cut off": msgpack.packb([0, 1])[:-1],
    "trailing bytes": msgpack.packb([10, 1]) + b"\0",
    "a number": msgpack.packb(10),
    "a text": msgpack.packb("Ping"),
    "a map": msgpack.packb({"nonce": 1}),
    "nil": msgpack.packb(None),
    "no type": msgpack.packb([]),
    "text as type": msgpack.packb(["Ping", 1]),
    "bool as type": msgpack.packb([True, 1]),
    "float as type": msgpack.packb([10.0, 1]),
    "list as type": msgpack.packb([[10], 1]),
    "negative type": msgpack.packb([-1, 1]),
    "unknown type": msgpack.packb([len(FRAME_TYPES), 1]),
    "huge type": msgpack.packb([2**64 - 1, 1]),
    "numbers as keys": msgpack.packb([10, {1: 2}]),
    "invalid UTF-8": b"\x92\x0c\xa2\xff\xfe",
    "surrogate": b"\x92\x0c\xa3\xed\xa0\x80",
    "ext": msgpack.packb([10, msgpack.ExtType(5, b"x")]),
    "timestamp": msgpack.packb([10, msgpack.Timestamp(1, 2)]),
    "bad timestamp": msgpack.packb([10, msgpack.ExtType(127, b"x")])[:-3] + b"\xd4\xff\x01",
}


@pytest.mark.parametrize("header", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_header_that_cannot_be_read_is_refused(header):
    refuse(packed(header))


# -- malformed: wrong fields

WRONG = [None, True, 1, -1, 1.5, "x", b"x", "", b"", [], [1], ["a"], [[]], {}, {"a": 1},
         msgpack.ExtType(1, b"x"), msgpack.Timestamp(0, 0)]  # fmt: skip


def header_and_bodies(frame):
    data = wire(frame)
    size, header = PREFIX.unpack_from(data)
    start = PREFIX.size + header
    return msgpack.unpackb(data[PREFIX.size : start]), data[start : PREFIX.size + size]


def variations(value):
    """The same msgpack value with one wrong thing somewhere in it."""
    for wrong in WRONG:
        if type(wrong) is not type(value) or isinstance(value, list):
            yield wrong
    if isinstance(value, list):
        for at, item in enumerate(value):
            for changed in variations(item):
                yield [*value[:at], changed, *value[at + 1 :]]


@every_example
def test_a_wrong_type_anywhere_is_refused_or_gives_a_well_typed_frame(frame):
    header, bodies = header_and_bodies(frame)

    for changed in variations(header):
        try:
            frames = FrameDecoder().feed(packed(changed, bodies))
        except ProtocolError:
            continue
        assert len(frames) == 1
        assert_well_typed(frames[0])


def assert_well_typed(frame):
    """What mypy promises about frames also holds for those from the wire."""
    again = msgpack.unpackb(encode(frame)[0][PREFIX.size :])
    assert type(frame) is FRAME_TYPES[again[0]]
    if isinstance(frame, Result):
        for reply in frame.replies:
            assert_pairs(reply.headers, str)
    elif isinstance(frame, Chunk):
        assert_pairs(frame.headers, str)
    elif isinstance(frame, Predict):
        assert type(frame.rows) is list
        for row in frame.rows:
            assert_pairs(row.headers, bytes)
            assert_pairs(row.properties, str)
    elif isinstance(frame, Metrics):
        for record in frame.records:
            assert_pairs(record.dimensions, str)
            assert type(record.value) is float
    elif isinstance(frame, (Fork, Preload)):
        assert_pairs(frame.environ, str)


def assert_pairs(pairs, kind):
    assert type(pairs) is list
    assert len(pairs) % 2 == 0
    assert all(type(item) is kind for item in pairs)


@every_example
def test_a_field_too_few_or_too_many_is_refused(frame):
    header, bodies = header_and_bodies(frame)

    refuse(packed(header[:-1], bodies))
    refuse(packed([*header, 0], bodies))


@every_example
def test_bytes_behind_the_bodies_are_refused(frame):
    header, bodies = header_and_bodies(frame)

    refuse(packed(header, bodies + b"x"))


@every_example
def test_a_bool_is_not_an_int_and_an_int_is_not_a_bool(frame):
    header, bodies = header_and_bodies(frame)

    for at, item in enumerate(header[1:], 1):
        if type(item) in (int, bool):
            wrong = int(item) if type(item) is bool else bool(item)
            refuse(packed([*header[:at], wrong, *header[at + 1 :]], bodies))


@pytest.mark.parametrize("size", [-1, 4, 2**63, 2**64 - 1, True, 1.0, "3", None, [3]])
def test_a_body_size_that_does_not_fit_is_refused(size):
    refuse(packed([NUMBER[Chunk], 1, 0, 0, "", [], size], b"abc"))
    refuse(packed([NUMBER[Result], 1, 1, [[0, "", [], "", size]]], b"abc"))
    refuse(packed([NUMBER[Predict], 1, [["r", [], [], [["n", "", size]]]]], b"abc"))


def test_sizes_may_not_overlap_or_leave_a_gap():
    refuse(packed([NUMBER[Result], 1, 1, [[0, "", [], "", 3], [0, "", [], "", 1]]], b"abc"))
    refuse(packed([NUMBER[Result], 1, 1, [[0, "", [], "", 1], [0, "", [], "", 1]]], b"abc"))


@pytest.mark.parametrize(
    "header",
    [
        [NUMBER[Result], 1, 1, [[0, "", None, "", 0]]],
        [NUMBER[Result], 1, 1, [[0, "", 0, "", 0]]],
        [NUMBER[Result], 1, 1, [[0, "", "", "", 0]]],
        [NUMBER[Result], 1, 1, [[0, "", {}, "", 0]]],
        [NUMBER[Result], 1, 1, [[0, "", ["odd"], "", 0]]],
        [NUMBER[Chunk], 1, 0, 0, "", ["odd"], 0],
        [NUMBER[Predict], 1, [["r", [b"odd"], [], []]]],
        [NUMBER[Predict], 1, [["r", ["text", "text"], [], []]]],
        [NUMBER[Predict], 1, [["r", [], [b"b", b"b"], []]]],
        [NUMBER[Predict], 1, [["r", [], [], {}]]],
        [NUMBER[Predict], 1, [["r", [], [], ""]]],
        [NUMBER[Predict], 1, [["r", 0]]],
        [NUMBER[Predict], 1, [["r"]]],
        [NUMBER[Predict], 1, [["r", [], []]]],
        [NUMBER[Predict], 1, [["r", [], [], [["x", "", 0]]], ["r", 0]]],
        [NUMBER[Predict], 1, [["r", [], [], [["body", "", 0]]], ["r", "0"]]],
        [NUMBER[Predict], 1, [["r", [], [], [["body", "", 0]]], ["r", 1]]],
        [NUMBER[Predict], 1, [["r", [], [], [["body", "", 0]]], ["r", -1]]],
        [NUMBER[Predict], 1, [["r", [], [], [["body", "", 0]]], [0, 0]]],
        [NUMBER[Result], 1, 1, [1]],
        [NUMBER[Result], 1, 1, [-1]],
        [NUMBER[Result], 1, 1, [True]],
        [NUMBER[Result], 1, 1, [[]]],
        [NUMBER[Result], 1, 1, [[0]]],
        [NUMBER[Result], 1, 1, [0, [0]]],
        [NUMBER[Result], 1, 1, [[0, "", [], "", 0], [0]]],
        [NUMBER[Result], 1, 1, [[0, "", ["a", "b"], "", 0], [1]]],
        [NUMBER[Result], 1, 1, [[0, "", ["a", "b"], "", 0], [-1]]],
        [NUMBER[Result], 1, 1, [[0, "", ["a", "b"], "", 0], ["0"]]],
        [NUMBER[Result], 1, 1, [[0, "", ["a", "b"], "e", 0], [0]]],
        [NUMBER[Metrics], [[*RECORD[:4], ["odd"], *RECORD[5:]]]],
        [NUMBER[Fork], "w", [], ["odd"], "/m", []],
        [NUMBER[Preload], [], ["odd"]],
    ],
    ids=lambda header: f"{FRAME_TYPES[header[0]].__name__} {header[-1]!r}"[:60],
)
def test_pairs_and_parts_are_lists_of_the_right_length(header):
    refuse(packed(header))


def test_a_number_without_a_fraction_is_a_float_all_the_same():
    (loaded,) = FrameDecoder().feed(packed([NUMBER[Loaded], 3]))

    assert loaded == Loaded(3.0)
    assert type(loaded.load_ms) is float


def test_a_refusal_says_what_is_wrong():
    refuse(packed([NUMBER[Ping]]), "Ping frame with 0 fields")
    refuse(packed([NUMBER[Ping], "x"]), "str where int belongs")
    refuse(packed([NUMBER[Loaded], "x"]), "str where a number belongs")
    refuse(packed([NUMBER[Ping], 1], b"b"), "a body where none belongs")
    refuse(packed([99]), "unknown frame type 99")
    refuse(packed([NUMBER[Result], 1]), "malformed Result frame")
