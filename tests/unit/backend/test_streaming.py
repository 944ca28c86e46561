"""Intermediate answers: where they go, and when they are refused."""

import pytest

from tsl.backend import streaming
from tsl.backend.context import Context
from tsl.backend.streaming import (
    LOOK_EVERY_S,
    ClientDisconnected,
    ReplyStream,
    send_intermediate_predict_response,
    set_current_stream,
)
from tsl.protocol.errors import InvalidOutput, ResponseTooLarge
from tsl.protocol.frames import Chunk, Predict, Row


class FakeOutlet:
    """A connection; ``arriving`` becomes known when somebody polls."""

    def __init__(self):
        self.cancelled = set()
        self.arriving = set()
        self.writes = []
        self.error = None

    @property
    def has_cancelled(self):
        return bool(self.cancelled)

    def poll(self):
        self.cancelled |= self.arriving

    def is_cancelled(self, batch_id, row):
        return (batch_id, row) in self.cancelled

    def send(self, *frames):
        if self.error:
            raise self.error
        self.writes.append(frames)


@pytest.fixture
def outlet():
    return FakeOutlet()


@pytest.fixture
def stream(outlet):
    return ReplyStream(outlet, max_response_bytes=100)


@pytest.fixture
def context(stream):
    """The context of a running batch, number 9, of rows a and b."""
    batch = Predict(9, [Row("a", [], [], []), Row("b", [], [], [])])
    context = Context("m", "/m", None, 2, None, "1")
    context.begin_batch(batch.rows, stream)
    stream.open(batch, context)
    return context


@pytest.fixture(autouse=True)
def _no_current_stream(monkeypatch):
    monkeypatch.setattr(streaming, "_current", None)


def send(values, ids, context):
    send_intermediate_predict_response(values, ids, "Intermediate Prediction success", 200, context)


def chunk(row, body, status=0, phrase="", headers=()):
    return Chunk(9, row, status, phrase, list(headers), body)


def test_all_rows_go_out_in_one_write(outlet, context):
    send(["one", {"n": 2}], context.request_ids, context)

    assert outlet.writes == [(chunk(0, b"one"), chunk(1, b'{\n  "n": 2\n}'))]


def test_a_chunk_carries_status_and_headers_set_so_far(outlet, context):
    context.set_response_status(201, "Made", 1)
    context.set_response_header(1, "X", "y")

    send(["one", "two"], context.request_ids, context)

    assert outlet.writes == [(chunk(0, b"one"), chunk(1, b"two", 201, "Made", ["X", "y"]))]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({0: "a", 1: "b"}, [chunk(0, b"v0"), chunk(1, b"v1")]),
        ({0: "b"}, [chunk(1, b"v0")]),
        ({1: "not of this batch"}, [chunk(1, b"v1")]),
        ({0: "b", 1: "a"}, [chunk(1, b"v0"), chunk(0, b"v1")]),
    ],
    ids=["copy-of-all", "renumbered-part", "unknown-id", "swapped"],
)
def test_a_request_id_map_of_the_handlers_own(outlet, context, ids, expected):
    send(["v0", "v1"], ids, context)

    assert outlet.writes == [tuple(expected)]


def test_an_unknown_row_is_refused(outlet, context):
    with pytest.raises(LookupError, match="2 rows, there is no row 5"):
        send([""] * 6, {5: "c"}, context)

    assert outlet.writes == []


def test_too_few_values_are_refused(outlet, context):
    with pytest.raises(IndexError):
        send(["only one"], context.request_ids, context)

    assert outlet.writes == []


@pytest.mark.parametrize(
    ("value", "error"),
    [({1}, InvalidOutput), ("x" * 101, ResponseTooLarge)],
    ids=["no-encoding", "too-large"],
)
def test_a_value_that_cannot_be_sent_raises_in_the_handler(outlet, context, value, error):
    with pytest.raises(error):
        send(["fine", value], context.request_ids, context)

    assert outlet.writes == []


def test_cancelled_rows_are_skipped(outlet, context):
    outlet.arriving = {(9, 0)}

    send(["one", "two"], context.request_ids, context)

    assert outlet.writes == [(chunk(1, b"two"),)]


def test_a_part_of_which_all_rows_are_cancelled_sends_nothing(outlet, context):
    outlet.arriving = {(9, 0)}

    send(["one"], {0: "a"}, context)

    assert outlet.writes == []


def test_when_all_rows_are_cancelled_the_handler_is_told(outlet, context):
    outlet.arriving = {(9, 0), (9, 1)}

    with pytest.raises(ClientDisconnected):
        send(["one", "two"], context.request_ids, context)

    assert outlet.writes == []


def test_a_front_end_that_is_gone_is_a_disconnected_client(outlet, context):
    outlet.error = BrokenPipeError()

    with pytest.raises(ClientDisconnected, match="front end is gone"):
        send(["one", "two"], context.request_ids, context)


def test_a_quick_handler_looks_for_those_who_left_now_and_then(outlet, context, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(streaming, "monotonic", lambda: now[0])
    send(["one", "two"], context.request_ids, context)
    outlet.arriving = {(9, 0), (9, 1)}

    now[0] += LOOK_EVERY_S / 2
    send(["one", "two"], context.request_ids, context)
    now[0] += LOOK_EVERY_S
    with pytest.raises(ClientDisconnected):
        send(["one", "two"], context.request_ids, context)

    assert len(outlet.writes) == 2


def test_the_context_asks_the_stream_about_cancelled_rows(outlet, context):
    outlet.arriving = {(9, 1)}

    assert [context.is_cancelled(0), context.is_cancelled(1)] == [False, True]


def test_a_batch_is_abandoned_when_its_last_row_is(outlet, stream, context):
    outlet.cancelled = {(9, 0)}
    assert not stream.is_abandoned()

    outlet.cancelled.add((9, 1))
    assert stream.is_abandoned()


def test_outside_of_a_call_nothing_can_be_sent(outlet, stream, context):
    stream.close()

    with pytest.raises(RuntimeError, match="no handler call was running"):
        send(["late", "late"], context.request_ids, context)

    assert outlet.writes == []


def test_outside_of_a_call_no_row_is_cancelled(outlet, stream, context):
    outlet.arriving = {(9, 0)}
    stream.close()

    assert stream.is_cancelled(0) is False
    assert stream.is_abandoned() is False


@pytest.mark.parametrize(
    "context_given", [None, object()], ids=["without-context", "with-a-foreign-context"]
)
def test_without_a_usable_context_the_processes_stream_is_meant(
    outlet, stream, context, context_given
):
    set_current_stream(stream)

    send(["one", "two"], {0: "a", 1: "b"}, context_given)

    assert outlet.writes == [(chunk(0, b"one"), chunk(1, b"two"))]


def test_outside_of_a_worker_nothing_can_be_sent():
    with pytest.raises(RuntimeError, match="only inside of a worker"):
        send(["one"], {0: "a"}, None)


def test_only_the_first_of_a_group_of_processes_speaks(outlet, context):
    follower = ReplyStream(outlet, 100, is_silent=True)
    context.cl_socket = follower

    send(["one", "two"], context.request_ids, context)

    assert outlet.writes == []
