"""What workers print becomes log lines, whatever pieces it comes in."""

from __future__ import annotations

import logging

import pytest

from tsl.frontend.worker_output import (
    KEPT_LINES,
    MAX_LINE_BYTES,
    SLICE_LINES,
    SLICE_PAUSE_S,
    WorkerOutput,
    new_tail,
)
from tsl.protocol.output_marks import mark


class Pipe:
    """The reading end of a pipe."""

    def __init__(self):
        self.is_reading = True

    def pause_reading(self):
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self):
        assert not self.is_reading
        self.is_reading = True


@pytest.fixture
def printed(world, caplog):
    """Feeds pieces to an output; answers its tail."""
    caplog.set_level(logging.INFO, "tsl.worker")

    def feed(*pieces, level=logging.WARNING):
        tail = new_tail()
        output = WorkerOutput("W-9000-m_1.0-stderr", level, tail)
        output.connection_made(Pipe())
        for piece in pieces:
            output.data_received(piece)
        output.connection_lost(None)
        return tail

    return feed


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"o", b"ne\nt", b"wo\n"], ["one", "two"]),
        ([b"one\ntwo"], ["one", "two"]),
        ([b"one\r\n"], ["one"]),
        ([b"\n\n"], ["", ""]),
        ([], []),
        (["schön\n".encode()], ["schön"]),
        ([b"\xc3", b"\xa9\n"], ["é"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([b"100 %s %d\n"], ["100 %s %d"]),
    ],
)
def test_lines(printed, caplog, pieces, lines):
    printed(*pieces)

    assert [record.getMessage() for record in caplog.records] == lines


def test_lines_carry_the_workers_name_and_level(printed, caplog):
    printed(b"x\n")

    (record,) = caplog.records
    assert record.name == "tsl.worker"
    assert record.threadName == "W-9000-m_1.0-stderr"
    assert record.levelno == logging.WARNING


def test_a_line_without_an_end_is_cut(printed, caplog):
    printed(b"x" * MAX_LINE_BYTES, b"y" * 10, b"z\n")

    assert [len(record.getMessage()) for record in caplog.records] == [MAX_LINE_BYTES + 10, 1]


def test_the_last_lines_of_stderr_are_kept_but_not_blank_ones(printed):
    tail = printed(*(b"line %d\n \n" % number for number in range(100)))

    assert list(tail) == [f"line {number}" for number in range(100 - KEPT_LINES, 100)]


def test_stdout_is_not_kept(printed):
    assert not printed(b"hello\n", level=logging.INFO)


def test_a_level_that_is_off_is_not_logged_but_still_kept(printed, caplog):
    caplog.set_level(logging.CRITICAL, "tsl.worker")

    tail = printed(b"why\n")

    assert caplog.records == []
    assert list(tail) == ["why"]


def test_a_flood_is_logged_in_slices_while_nothing_more_is_read(world, caplog):
    """A handler that prints very much must not keep the event loop from its requests."""
    caplog.set_level(logging.INFO, "tsl.worker")
    output, pipe = WorkerOutput("W", logging.INFO, new_tail()), Pipe()
    output.connection_made(pipe)
    total = 3 * SLICE_LINES + 1

    output.data_received(b"".join(b"%d\n" % number for number in range(total)))
    assert len(caplog.records) == SLICE_LINES
    assert not pipe.is_reading
    world.advance(4 * SLICE_PAUSE_S)

    assert [record.getMessage() for record in caplog.records] == list(map(str, range(total)))
    assert pipe.is_reading


def test_what_waits_at_the_end_is_logged_all_the_same(world, caplog):
    caplog.set_level(logging.INFO, "tsl.worker")
    output = WorkerOutput("W", logging.INFO, new_tail())
    output.connection_made(Pipe())

    output.data_received(b"x\n" * (2 * SLICE_LINES) + b"rest")
    output.connection_lost(None)
    world.advance(1)

    assert len(caplog.records) == 2 * SLICE_LINES + 1
    assert caplog.records[-1].getMessage() == "rest"


def test_a_marked_line_is_logged_with_the_ids_of_its_requests(world, caplog):
    caplog.set_level(logging.INFO, "tsl.worker")
    tail = new_tail()
    output = WorkerOutput("W", logging.WARNING, tail, is_marked=True)
    output.connection_made(Pipe())

    output.data_received(mark("a,b") + b"text\n" + b"of nobody\n")

    first, second = caplog.records
    assert (first.getMessage(), first.request_id) == ("text", "a,b")
    assert (second.getMessage(), hasattr(second, "request_id")) == ("of nobody", False)
    assert list(tail) == ["text", "of nobody"]


def test_marks_are_not_looked_for_without_need(printed, caplog):
    printed(mark("a") + b"text\n")

    assert [record.getMessage() for record in caplog.records] == ["\x1ea\x1ftext"]
