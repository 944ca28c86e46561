"""Lines from the hot path: in order, in batches, and never in the way."""

from __future__ import annotations

import io
import json
import re
import sys
import threading

import pytest

from tsl.frontend.logs import line_log
from tsl.frontend.logs.line_log import FLUSH_S, LineStyle, LineWriter
from tsl.frontend.logs.log_file import LogFile

STAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3} - "
CONSOLE = LineStyle(b"{time} [INFO ] main X - ")


class Stuck:
    """A file whose first write does not return until ``release``."""

    def __init__(self):
        self.written = []
        self.entered = threading.Event()
        self.release = threading.Event()

    def write(self, data):
        self.entered.set()
        assert self.release.wait(10)
        self.written.append(data)

    def close(self):
        """Nothing is held."""


class Clock:
    """``time.time`` of the log; each `tick` is a millisecond, and a turn of the event loop."""

    def __init__(self, world):
        self.now = 1_700_000_000.0005
        self.world = world

    def time(self):
        return self.now

    def tick(self):
        self.now += 0.001
        self.world.advance(0)

    def __getattr__(self, name):
        return getattr(sys.modules["time"], name)


@pytest.fixture
def clock(world, monkeypatch):
    clock = Clock(world)
    monkeypatch.setattr(line_log, "time", clock)
    return clock


@pytest.fixture
def open_log(world):
    """Opens a log with a writer of its own."""
    writers = []

    def make(file, console=None):
        writer = LineWriter(console=console is not None)
        writers.append(writer)
        opener = file if callable(file) else lambda: LogFile(file)
        return writer, writer.open(opener, LineStyle(), console)

    yield make
    for writer in writers:
        writer.close()


@pytest.fixture
def stuck(world, clock, open_log):
    """A log whose writer hangs in a write, with all its places taken."""
    file = Stuck()
    writer, log = open_log(lambda: file)
    log.add(b"first")
    world.advance(FLUSH_S)
    assert file.entered.wait(10)
    for _ in range(writer._batches.maxsize):
        log.add(b"waiting")
        world.advance(FLUSH_S)
    assert writer._batches.full()
    yield writer, log, file
    file.release.set()
    writer.close()


def texts(data):
    return [re.sub(STAMP, b"", line) for line in data.splitlines()]


def test_lines_have_a_time_stamp_and_keep_their_order(tmp_path, open_log):
    writer, log = open_log(tmp_path / "logs" / "a.log")

    for number in range(5):
        log.add(b"line %d" % number)
    writer.close()

    data = (tmp_path / "logs" / "a.log").read_bytes()
    assert re.fullmatch(rb"(" + STAMP + rb"line \d\n){5}", data)
    assert texts(data) == [b"line %d" % number for number in range(5)]


def test_each_line_has_the_stamp_of_its_own_turn(tmp_path, clock, open_log):
    writer, log = open_log(tmp_path / "a.log")

    for _ in range(3):
        log.add(b"x")
        log.add(b"y")
        clock.tick()
    writer.close()

    stamps = re.findall(rb",(\d{3}) - ", (tmp_path / "a.log").read_bytes())
    assert stamps == [b"000", b"000", b"001", b"001", b"002", b"002"]


def test_a_text_may_be_several_lines(tmp_path, open_log):
    writer, log = open_log(tmp_path / "a.log")

    log.add(b"one\ntwo")
    log.add(b"three")
    writer.close()

    data = (tmp_path / "a.log").read_bytes()
    assert re.fullmatch(rb"(" + STAMP + rb"\w+\n){3}", data)
    assert texts(data) == [b"one", b"two", b"three"]


def test_many_lines_are_written_in_pieces_and_in_order(tmp_path, clock, open_log, monkeypatch):
    monkeypatch.setattr(line_log, "PIECE_LINES", 3)
    writer, log = open_log(tmp_path / "a.log")

    for number in range(20):
        log.add(b"%d" % number)
        if number % 3 != 1:
            clock.tick()
    writer.close()

    written = texts((tmp_path / "a.log").read_bytes())
    assert written == [b"%d" % number for number in range(20)]


def test_lines_are_written_in_batches(world, tmp_path, open_log):
    writer, log = open_log(tmp_path / "a.log")
    log.add(b"one")
    assert writer._batches.empty()

    world.advance(FLUSH_S)
    log.add(b"two")
    writer.close()

    assert texts((tmp_path / "a.log").read_bytes()) == [b"one", b"two"]


def test_the_console_has_a_style_of_its_own(tmp_path, open_log, capsysbinary):
    writer, log = open_log(tmp_path / "a.log", CONSOLE)

    log.add("schön".encode())
    writer.close()

    assert re.fullmatch(rb"\S{23} \[INFO \] main X - sch\xc3\xb6n\n", capsysbinary.readouterr().out)


def test_a_style_can_end_in_the_seconds():
    style = LineStyle(after=b",timestamp:{seconds}\n")

    lines = style.render([(7_999, [b"a", b"b"]), (8_000, [b"c"])]).splitlines()

    assert [line[26:] for line in lines] == [
        b"a,timestamp:7", b"b,timestamp:7", b"c,timestamp:8",
    ]  # fmt: skip


def test_an_iso_stamp_names_its_zone():
    style = LineStyle(b'{"time":"{time}",', is_iso=True)

    line = style.render([(1_700_000_000_007, [b'"x":1}'])])

    assert json.loads(line) == {"time": "2023-11-14T22:13:20.007+00:00", "x": 1}


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "never there"])
def test_a_console_that_is_gone_does_not_stop_the_file(
    world, monkeypatch, tmp_path, open_log, closed
):
    """A server that is started with ``>&-`` has no stdout at all."""
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream if closed else None)
    writer, log = open_log(tmp_path / "a.log", CONSOLE)

    log.add(b"one")
    world.advance(FLUSH_S)
    log.add(b"two")
    writer.close()

    assert texts((tmp_path / "a.log").read_bytes()) == [b"one", b"two"]


def test_a_folder_that_cannot_be_made_means_console_only(tmp_path, open_log, capsysbinary, caplog):
    (tmp_path / "file").write_text("")
    writer, log = open_log(tmp_path / "file" / "a.log", CONSOLE)

    log.add(b"one")
    writer.close()

    assert capsysbinary.readouterr().out.endswith(b" - one\n")
    assert "console only" in caplog.text


def test_a_disk_that_is_full_for_a_while_costs_the_lines_of_that_while(world, open_log, caplog):
    class Full:
        path = "a.log"
        error = OSError(28, "No space left on device")
        written = b""

        def write(self, data):
            if self.error:
                raise self.error
            self.written += data

        def close(self):
            """Nothing is held."""

    file = Full()
    _, log = open_log(lambda: file)
    for text in (b"one", b"two"):
        log.write([(0, [text])])
    file.error = None
    log.write([(0, [b"three"])])

    assert texts(file.written) == [b"three"]
    assert [record.getMessage() for record in caplog.records] == [
        "a.log cannot be written: [Errno 28] No space left on device",
        "a.log can be written again",
    ]


# -- a writer that is stuck


def test_lines_wait_while_the_writer_is_stuck_and_keep_their_order(world, stuck):
    writer, log, file = stuck
    log.add(b"late")
    world.advance(3 * FLUSH_S)

    file.release.set()
    writer.close()

    written = texts(b"".join(file.written))
    assert written[0] == b"first"
    assert written[-1] == b"late"


def test_the_event_loop_never_waits_for_the_writer(world, clock, stuck, monkeypatch):
    monkeypatch.setattr(line_log, "MAX_PENDING_LINES", 3)
    writer, log, file = stuck

    for number in range(10):
        clock.tick()
        log.add(b"line %d" % number)
    world.advance(FLUSH_S)

    assert not file.release.is_set()
    assert log.dropped == writer.dropped == 7


def test_dropped_lines_are_reported_once(world, clock, stuck, monkeypatch):
    monkeypatch.setattr(line_log, "MAX_PENDING_LINES", 3)
    writer, log, file = stuck
    for number in range(10):
        clock.tick()
        log.add(b"line %d" % number)

    world.advance(5 * FLUSH_S)
    file.release.set()
    while log._groups:
        world.advance(FLUSH_S)
        file.entered.wait(0.01)
    log.add(b"more")
    writer.close()

    written = texts(b"".join(file.written))
    assert written[-5:] == [b"line 0", b"line 1", b"line 2", b"7 lines were dropped", b"more"]


def test_closing_does_not_wait_for_ever_for_a_stuck_writer(stuck):
    writer, _, _ = stuck

    writer.close()

    assert writer._thread.is_alive()
