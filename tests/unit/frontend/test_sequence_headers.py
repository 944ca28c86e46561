"""Which sequence a request belongs to, and what answers say."""

from __future__ import annotations

import pytest
from fakes import ReplyRecorder

from tsl.frontend.jobs import Job
from tsl.frontend.sequence_headers import Found, SequenceHeaders, SequenceSink
from tsl.protocol.errors import WorkerDied
from tsl.protocol.frames import Chunk, Reply, Row


@pytest.fixture
def headers():
    return SequenceHeaders("seq", "seq_start", "seq_end", new_id=lambda: "made")


def row(*pairs, properties=()):
    return Row("r", [text.encode() for text in pairs], list(properties), [])


def test_the_header_names_the_sequence(headers):
    assert headers.find(row("host", "x", "seq", "a")) == Found("a", False, False, ())


@pytest.mark.parametrize("pairs", [(), ("seq", ""), ("other", "a")], ids=["none", "empty", "other"])
def test_a_request_that_names_no_sequence_begins_one(headers, pairs):
    found = headers.find(row(*pairs))

    assert found == Found("made", True, False, ("seq", "made", "seq_start", "true"))


def test_the_last_of_repeated_headers_counts(headers):
    assert headers.find(row("seq", "a", "seq", "b")).id == "b"


def test_another_spelling_is_understood_and_shown_to_handlers_as_configured(headers):
    found = headers.find(row("Seq", "a", "SEQ_END", "true"))

    assert found == Found("a", False, True, ("seq", "a", "seq_end", "true"))


def test_the_configured_spelling_goes_before_any_other(headers):
    assert headers.find(row("seq", "a", "Seq", "b")) == Found("a", False, False, ())


def test_what_the_server_says_goes_before_the_client(headers):
    found = headers.find(row("seq", "a", properties=["explain", "False", "seq", "b"]))

    assert found == Found("b", False, False, ())


@pytest.mark.parametrize(
    ("value", "is_last"), [("true", True), ("True", True), ("false", False), ("1", False)]
)
def test_the_client_may_say_that_it_is_the_last_request(headers, value, is_last):
    assert headers.find(row("seq", "a", "seq_end", value)).is_last is is_last


def test_ids_are_unique():
    names = SequenceHeaders("seq", "start", "end")

    first, second = names.find(row()).id, names.find(row()).id

    assert first.startswith("ts-seq-")
    assert first != second


def test_a_job_is_completed_without_touching_what_others_share(headers):
    shared = ["explain", "False"]
    job = Job(Row("r", [], shared, []), ReplyRecorder(), 0.0)

    headers.complete(job, headers.find(job.row))

    assert job.row.properties == ["explain", "False", "seq", "made", "seq_start", "true"]
    assert shared == ["explain", "False"]


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ([], []),
        (["seq_end", "a"], ["a"]),
        (["x", "y", "Seq_End", "a; b;c;"], ["a", "b", "c"]),
        (["seq_end", ""], []),
    ],
)
def test_an_answer_may_end_sequences(headers, answer, ids):
    assert headers.ended(answer) == ids


class Ends:
    def __init__(self):
        self.ended = []

    def end(self, sequence_id):
        self.ended.append(sequence_id)


@pytest.fixture
def sink_of(headers):
    """A sink for a request, what stands behind it, and who hears of ends."""

    def make(found):
        recorder, ends = ReplyRecorder(), Ends()
        return SequenceSink(recorder, ends, headers, found), recorder, ends

    return make


NAMED, NEW = Found("a", False, False, ()), Found("made", True, False, ())


def test_answers_pass_unchanged(sink_of):
    sink, recorder, ends = sink_of(NAMED)
    reply, chunk = Reply(200, "", [], "", b"x"), Chunk(1, 0, 0, "", ["a", "b"], b"y")
    error = WorkerDied()

    sink.chunk(None, chunk)
    sink.finish(None, reply)
    sink.fail(None, error)

    assert recorder.events == [("chunk", chunk), ("finish", reply), ("fail", error)]
    assert recorder.events[1][1] is reply
    assert ends.ended == []


def test_a_client_learns_the_id_that_the_server_made(sink_of):
    sink, recorder, _ = sink_of(NEW)

    sink.chunk(None, Chunk(1, 0, 0, "", [], b""))
    sink.finish(None, Reply(0, "", ["x", "y"], "", b""))

    assert [event[1].headers for event in recorder.events] == [
        ["seq", "made"],
        ["x", "y", "seq", "made"],
    ]


def test_a_handler_may_have_told_it_already(sink_of):
    sink, recorder, _ = sink_of(NEW)

    sink.finish(None, Reply(0, "", ["SEQ", "made"], "", b""))

    assert recorder.events[0][1].headers == ["SEQ", "made"]


def test_ends_are_reported_from_pieces_and_answers(sink_of):
    sink, _, ends = sink_of(NAMED)

    sink.chunk(None, Chunk(1, 0, 0, "", ["seq_end", "b"], b""))
    sink.finish(None, Reply(0, "", ["seq_end", "a;c"], "", b""))

    assert ends.ended == ["b", "a", "c"]
