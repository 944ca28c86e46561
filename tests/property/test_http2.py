"""HTTP/2, whatever bytes come and however they are cut."""

import h2.events
from h2_client import END, OK, REQUEST, App, Play, parse, raw_frame
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from tsl.frontend.http2 import frames
from tsl.frontend.http2.codes import ErrorCode
from tsl.frontend.http2.fields import encode_fields

BLOCK = encode_fields([(name.encode(), value.encode()) for name, value in REQUEST])


def cut(data, at):
    """Some bytes in pieces."""
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def seen(play):
    return [
        (r.stream.id, r.head.path, r.head.fields, r.body, r.is_complete, r.was_reset)
        for r in play.app.requests
    ]


bodies = st.binary(max_size=200)
names = st.sampled_from([b"a", b"b", b"user-agent"])
values = st.binary(max_size=20).map(lambda b: b.hex().encode())


@given(
    requests=st.lists(
        st.tuples(bodies, st.lists(st.tuples(names, values), max_size=4)), min_size=1, max_size=6
    ),
    at=st.lists(st.integers(0, 5000), max_size=30),
)
@settings(deadline=None)
def test_requests_mean_the_same_however_they_are_cut(requests, at):
    encoder = Encoder()
    data = frames.PREFACE + frames.settings({})
    for n, (body, fields) in enumerate(requests):
        number = 2 * n + 1
        block = encoder.encode([*REQUEST, *fields])
        data += raw_frame(1, 0, number, block[:7]) + raw_frame(9, 4, number, block[7:])
        data += raw_frame(0, 0, number, body[:50]) + raw_frame(0, 1, number, body[50:])
    whole, pieces = Play(start=False), Play(start=False)

    whole.feed(data)
    pieces.feed(*cut(data, at))

    assert seen(whole) == seen(pieces)
    assert [entry[3] for entry in seen(whole)] == [body for body, _ in requests]
    assert [entry[2] for entry in seen(whole)] == [fields for _, fields in requests]


any_frame = st.builds(
    raw_frame,
    st.one_of(st.integers(0, 9), st.integers(0, 255)),
    st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 4, 5, 8])),
    st.one_of(st.integers(0, 9), st.integers(0, 2**31 - 1)),
    st.one_of(
        st.binary(max_size=40),
        st.just(BLOCK),
        st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4, "big")),
        st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2**32 - 1)), max_size=3).map(
            lambda pairs: b"".join(n.to_bytes(2, "big") + v.to_bytes(4, "big") for n, v in pairs)
        ),
    ),
)


class Answering(App):
    """Answers what is complete, and is careless about what it asks for."""

    def open(self, stream, head):
        request = super().open(stream, head)
        self.play.core.windows.want(stream, 300_000)
        return request

    def answer_some(self):
        core = self.play.core
        for request in self.requests:
            if request.stream.id in core.streams and not hasattr(request, "answered"):
                request.answered = True
                core.sender.respond(request.stream, OK, bytes(100_000), END)


@given(
    data=st.lists(st.one_of(any_frame, any_frame, st.binary(max_size=30)), max_size=40),
    at=st.lists(st.integers(0, 5000), max_size=10),
)
@settings(deadline=None, max_examples=400)
def test_no_bytes_raise_or_are_remembered_for_ever(data, at):
    app = Answering()
    play = Play(app, start=False, waiting_bytes=300_000)
    app.play = play
    play.feed(frames.PREFACE, frames.settings({}))

    sent = []
    for piece in cut(b"".join(data), at):
        sent += play.feed(piece)
        app.answer_some()

    core = play.core
    sent += play.feed()
    assert len(core._tail) <= frames.MAX_FRAME_BYTES + frames.HEAD_BYTES
    assert core.sender.waiting_bytes == sum(s.pending_bytes for s in core.streams.values())
    assert core.sender.waiting_bytes <= 300_000 + 100_000
    assert core.windows._reserved == sum(s.reserved for s in core.streams.values())
    goaways = [payload for kind, _, _, payload in sent if kind == frames.GOAWAY]
    assert len(goaways) == core.is_failed
    if goaways:
        assert ErrorCode(int.from_bytes(goaways[0][4:8], "big")) is not ErrorCode.NO_ERROR
        assert not core.streams
    core.lost()
    assert all(r.was_reset is not None or hasattr(r, "answered") for r in app.requests), (
        "everybody has heard the end"
    )
    assert core.sender.waiting_bytes == 0


@given(
    sizes=st.lists(st.integers(0, 100_000), min_size=1, max_size=5),
    window=st.integers(0, 100_000),
    steps=st.lists(st.integers(1, 60_000), max_size=20),
)
@settings(deadline=None, max_examples=60)
def test_answers_arrive_whole_whatever_the_windows_are(sizes, window, steps):
    play = Play()
    play.client.update_settings({4: window})
    play.exchange()
    numbers = [play.request() for _ in sizes]
    for request, size in zip(play.app.requests, sizes, strict=True):
        play.answer(request, bytes(size))

    for step in steps:
        play.client.increment_flow_control_window(step)
        play.exchange()
    play.client.increment_flow_control_window(10**6)
    for number in numbers:
        if number in play.core.streams:
            play.client.increment_flow_control_window(10**6, number)
        play.exchange()

    assert [len(play.body(number)) for number in numbers] == sizes
    assert all(map(play.has_ended, numbers))
    assert not play.of(h2.events.StreamReset)
    assert list(parse(bytes(play.sent))) == []
