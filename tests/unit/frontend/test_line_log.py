"""Lines from the hot path: in order, in batches, and never in the way."""

from __future__ import annotations

import io
import re
import sys
import threading
from types import SimpleNamespace

import pytest

from tsl.frontend import line_log
from tsl.frontend.line_log import FLUSH_S, LineLog

STAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3} - "


class StuckStream:
    """A file whose first write does not return until ``release``."""

    def __init__(self):
        self.buffer = self
        self.written = []
        self.entered = threading.Event()
        self.release = threading.Event()

    def write(self, data):
        self.entered.set()
        assert self.release.wait(10)
        self.written.append(data)

    def flush(self):
        """Nothing is held back."""

    def tell(self):
        return 0


@pytest.fixture
def stuck(world):
    """A log whose writer hangs in a write, with all its places taken."""
    log = LineLog(None, console=False)
    stream = StuckStream()
    log._file = SimpleNamespace(stream=stream, close=lambda: None, baseFilename="x")
    log.add(b"first")
    world.advance(FLUSH_S)
    assert stream.entered.wait(10)
    for _ in range(log._jobs.maxsize):
        log.add(b"waiting")
        world.advance(FLUSH_S)
    assert log._jobs.full()
    yield log, stream
    stream.release.set()
    log.close()


def texts(data):
    return [re.sub(STAMP, b"", line) for line in data.splitlines()]


def test_lines_have_a_time_stamp_and_keep_their_order(world, tmp_path):
    log = LineLog(tmp_path / "logs" / "a.log", console=False)

    for number in range(5):
        log.add(b"line %d" % number)
    log.close()

    data = (tmp_path / "logs" / "a.log").read_bytes()
    assert re.fullmatch(rb"(" + STAMP + rb"line \d\n){5}", data)
    assert texts(data) == [b"line %d" % number for number in range(5)]


def test_lines_are_written_in_batches(world, tmp_path):
    log = LineLog(tmp_path / "a.log", console=False)
    log.add(b"one")
    assert log._jobs.empty()

    world.advance(FLUSH_S)
    log.add(b"two")
    log.close()

    assert texts((tmp_path / "a.log").read_bytes()) == [b"one", b"two"]


def test_lines_go_to_the_console_too(world, capsysbinary):
    log = LineLog(None, console=True)

    log.add("schön".encode())
    log.close()

    assert texts(capsysbinary.readouterr().out) == ["schön".encode()]


@pytest.mark.parametrize(
    "closed", [True, False],
    ids=["closed", "never there"],
)  # fmt: skip
def test_a_console_that_is_gone_does_not_stop_the_file(world, monkeypatch, tmp_path, closed):
    """A server that is started with ``>&-`` has no stdout at all."""
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream if closed else None)
    log = LineLog(tmp_path / "a.log", console=True)

    log.add(b"one")
    world.advance(FLUSH_S)
    log.add(b"two")
    log.close()

    assert texts((tmp_path / "a.log").read_bytes()) == [b"one", b"two"]


def test_a_folder_that_cannot_be_made_means_console_only(world, tmp_path, capsysbinary, caplog):
    (tmp_path / "file").write_text("")
    log = LineLog(tmp_path / "file" / "a.log", console=True)

    log.add(b"one")
    log.close()

    assert texts(capsysbinary.readouterr().out) == [b"one"]
    assert "console only" in caplog.text


def test_a_file_that_cannot_be_written_any_more_is_left(world, tmp_path, capsysbinary, caplog):
    log = LineLog(tmp_path / "a.log", console=True)

    def fail(data):
        raise OSError(28, "No space left on device")

    log._file.stream.close()
    log._file.stream = SimpleNamespace(buffer=SimpleNamespace(write=fail), close=lambda: None)
    log.add(b"one")
    log.close()

    assert "cannot be written any more" in caplog.text
    assert texts(capsysbinary.readouterr().out) == [b"one"]


def test_a_large_file_is_rotated(world, monkeypatch, tmp_path):
    monkeypatch.setattr(line_log, "MAX_FILE_BYTES", 10)
    log = LineLog(tmp_path / "a.log", console=False)

    log.add(b"long enough")
    world.advance(FLUSH_S)
    log.add(b"next")
    log.close()

    kept = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir(), reverse=True))
    assert len(list(tmp_path.iterdir())) > 1
    assert texts(kept) == [b"long enough", b"next"]


# -- a writer that is stuck


def test_lines_wait_while_the_writer_is_stuck_and_keep_their_order(world, stuck):
    log, stream = stuck
    log.add(b"late")
    world.advance(3 * FLUSH_S)

    stream.release.set()
    log.close()

    written = texts(b"".join(stream.written))
    assert written[0] == b"first"
    assert written[-1] == b"late"


def test_the_event_loop_never_waits_for_the_writer(world, stuck, monkeypatch):
    monkeypatch.setattr(line_log, "MAX_PENDING_LINES", 3)
    log, stream = stuck

    for number in range(10):
        log.add(b"line %d" % number)
    world.advance(FLUSH_S)

    assert not stream.release.is_set()
    assert log._dropped == 7


def test_dropped_lines_are_reported_once(world, stuck, monkeypatch):
    monkeypatch.setattr(line_log, "MAX_PENDING_LINES", 3)
    log, stream = stuck
    for number in range(10):
        log.add(b"line %d" % number)

    world.advance(5 * FLUSH_S)
    stream.release.set()
    while log._lines:
        world.advance(FLUSH_S)
        stream.entered.wait(0.01)
    log.close()

    written = texts(b"".join(stream.written))
    assert written[-4:] == [b"line 0", b"line 1", b"line 2", b"7 lines were dropped"]
    assert sum(b"dropped" in line for line in written) == 1


def test_close_reports_dropped_lines(world, stuck, monkeypatch):
    monkeypatch.setattr(line_log, "MAX_PENDING_LINES", 1)
    log, stream = stuck
    log.add(b"kept")
    log.add(b"dropped")

    stream.release.set()
    log.close()

    assert texts(b"".join(stream.written))[-2:] == [b"kept", b"1 lines were dropped"]


def test_closing_does_not_wait_for_ever_for_a_stuck_writer(world, stuck):
    log, _ = stuck

    log.close()

    assert log._thread.is_alive()
