"""Whatever the frames are and however their bytes are cut, the other side gets the same frames."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tsl.protocol.codec import PREFIX, FrameDecoder, encode
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

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bodies = st.binary(max_size=100)
numbers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False)
lists = st.lists(texts, max_size=4)


def pairs(items):
    return st.lists(st.tuples(items, items), max_size=3).map(
        lambda found: [item for pair in found for item in pair]
    )


rows = st.builds(
    Row,
    texts,
    pairs(st.binary(max_size=20)),
    pairs(texts),
    st.lists(st.builds(Part, texts, texts, bodies), max_size=3),
)
replies = st.builds(Reply, numbers, texts, pairs(texts), texts, bodies)
records = st.builds(MetricRecord, texts, texts, texts, floats, pairs(texts), texts, numbers)

STRATEGIES = {
    Hello: st.builds(Hello, numbers, texts, texts, numbers),
    Load: st.builds(
        Load, texts, texts, texts, texts, numbers, numbers, st.booleans(), numbers, st.booleans(),
        texts, st.booleans(),
    ),
    Loaded: st.builds(Loaded, floats),
    LoadFailure: st.builds(LoadFailure, texts, texts),
    Predict: st.builds(Predict, numbers, st.lists(rows, max_size=4)),
    Result: st.builds(Result, numbers, numbers, st.lists(replies, max_size=4)),
    Chunk: st.builds(Chunk, numbers, numbers, numbers, texts, pairs(texts), bodies),
    Failure: st.builds(Failure, numbers, texts, texts, numbers),
    Cancel: st.builds(Cancel, numbers, numbers),
    Metrics: st.builds(Metrics, st.lists(records, max_size=4)),
    Ping: st.builds(Ping, numbers),
    Pong: st.builds(Pong, numbers),
    Shutdown: st.builds(Shutdown, texts),
    Fork: st.builds(Fork, texts, lists, pairs(texts), texts, lists, texts, st.binary(max_size=9)),
    Unshare: st.builds(Unshare, texts),
    Preload: st.builds(Preload, lists, pairs(texts)),
    Done: st.builds(Done, numbers),
    Forked: st.builds(Forked, texts, numbers),
    ForkRefused: st.builds(ForkRefused, texts, texts),
    Exited: st.builds(Exited, texts, numbers),
}  # fmt: skip
frames = st.one_of(list(STRATEGIES.values()))


def wire(some_frames):
    return b"".join(b"".join(encode(frame)) for frame in some_frames)


def pieces(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def test_every_frame_type_has_a_strategy():
    assert set(STRATEGIES) == set(FRAME_TYPES)


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 10**6), max_size=10))
def test_frames_survive_any_split(sent, cuts):
    decoder = FrameDecoder()
    received = []

    for piece in pieces(wire(sent), cuts):
        received += decoder.feed(piece)

    assert received == sent
    assert decoder.is_empty


@given(
    st.lists(frames, max_size=5),
    st.lists(st.integers(0, 10**6), max_size=10),
    st.integers(1, 200),
    st.booleans(),
)
def test_frames_with_memory_of_their_own_survive_any_split(sent, cuts, large, is_direct):
    """Whether a reader uses the room or not, and from whatever size on there is some."""
    decoder = FrameDecoder(large_bytes=large)
    received = []

    for piece in pieces(wire(sent), cuts):
        while is_direct and decoder.room and piece:
            part = piece[: len(decoder.room[0])]
            decoder.room[0][: len(part)] = part
            piece = piece[len(part) :]
            frame = decoder.filled(len(part))
            received += [] if frame is None else [frame]
        received += decoder.feed(piece)

    assert received == sent
    assert decoder.is_empty
    assert decoder.room == []


@given(frames)
def test_types_survive(sent):
    (received,) = FrameDecoder().feed(wire([sent]))

    assert type(received) is type(sent)
    for field, original in zip(received, sent, strict=True):
        assert isinstance(field, memoryview) or type(field) is type(original)


@given(st.lists(frames, min_size=1, max_size=3))
def test_missing_never_asks_for_more_than_there_is(sent):
    """A reader that asks for exactly what is missing never waits for bytes that do not come."""
    decoder, data = FrameDecoder(), wire(sent)
    received, at = [], 0

    while at < len(data):
        step = decoder.missing
        assert 0 < step <= len(data) - at
        received += decoder.feed(data[at : at + step])
        at += step

    assert received == sent


@given(frames, st.integers(0, 10**6))
def test_a_frame_cut_short_is_not_empty_and_gives_nothing(sent, cut):
    decoder, data = FrameDecoder(), wire([sent])
    part = data[: 1 + cut % (len(data) - 1)]

    assert decoder.feed(part) == []
    assert not decoder.is_empty
    assert decoder.missing > 0


def outcome(data, step):
    """The frames found and whether it ended in an error, with bytes given ``step`` at a time."""
    decoder, found = FrameDecoder(max_header_bytes=10_000, max_body_bytes=10_000), []
    try:
        for at in range(0, len(data), step):
            found += decoder.feed(data[at : at + step])
    except ProtocolError:
        return found, True
    return found, False


@given(
    st.lists(frames, max_size=3),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3),
    st.integers(1, 40),
)
def test_damaged_bytes_give_the_same_outcome_in_any_pieces(sent, damage, step):
    data = bytearray(wire(sent))
    for at, value in damage:
        if data:
            data[at % len(data)] = value
    data = bytes(data)

    one_by_one, failed = outcome(data, 1)
    in_steps, also_failed = outcome(data, step)

    assert failed == also_failed
    # Frames before the damage are lost with their piece; never is one invented or reordered.
    assert len(in_steps) <= len(one_by_one)
    assert all(type(a) is type(b) for a, b in zip(in_steps, one_by_one, strict=False))


@given(st.binary(max_size=200))
def test_any_header_is_a_frame_or_a_protocol_error(header):
    data = PREFIX.pack(len(header), len(header)) + header

    found, failed = outcome(data, len(data))

    assert failed or len(found) == 1
