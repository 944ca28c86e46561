"""The end of a log file, and what comes after it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tsl.cli.pidfile import PidFile
from tsl.cli.show_logs import command, followed, log_path, show_end


@pytest.fixture
def log(tmp_path):
    return tmp_path / "ts_log.log"


def end_of(path, lines):
    written = bytearray()
    size = show_end(path, lines, written.extend)
    assert size == path.stat().st_size
    return bytes(written)


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 5, b"a\nb\n"),
        (b"a\nb\n", 0, b""),
        (b"", 5, b""),
        (b"\n\n\n", 2, b"\n\n"),
        (b"x" * 200_000 + b"\n" + b"y" * 100_000 + b"\nz\n", 2, b"y" * 100_000 + b"\nz\n"),
    ],
    ids=["last", "unfinished", "short", "none", "empty", "blank", "larger than a block"],
)
def test_the_last_lines(log, content, lines, expected):
    log.write_bytes(content)

    assert end_of(log, lines) == expected


def test_the_last_lines_when_line_ends_meet_the_edges_of_blocks(log):
    content = b"".join(b"%d " % n + b"x" * (65536 - 3) + b"\n" for n in range(9))
    log.write_bytes(content)

    for lines in range(1, 9):
        assert end_of(log, lines) == b"".join(content.splitlines(keepends=True)[-lines:])


def follow(path, *steps):
    """What is read while each step happens instead of a wait."""
    pending = list(steps)
    seen = bytearray()

    class Done(Exception):
        pass

    def sleep(seconds):
        if not pending:
            raise Done
        pending.pop(0)()

    try:
        for data in followed(path, path.stat().st_size, sleep):
            seen.extend(data)
    except Done:
        return bytes(seen)


def append(path, text):
    def do():
        with path.open("a") as file:
            file.write(text)

    return do


def test_what_is_written_later_follows(log):
    log.write_text("known\n")

    assert follow(log, append(log, "a\n"), append(log, "b")) == b"a\nb"


def test_a_rotated_file_is_read_to_its_end_and_the_next_one_from_its_start(log):
    log.write_text("known\n")

    def rotate():
        append(log, "last\n")()
        log.rename(log.with_suffix(".1"))
        append(log, "first\n")()

    assert follow(log, rotate, append(log, "second\n")) == b"last\nfirst\nsecond\n"


def test_between_two_files_it_waits(log):
    log.write_text("known\n")

    def move():
        log.rename(log.with_suffix(".1"))

    assert follow(log, move, lambda: None, append(log, "first\n")) == b"first\n"


def test_a_file_that_is_cut_off_is_read_anew(log):
    log.write_text("known and long\n")

    def cut():
        os.truncate(log, 0)
        append(log, "new\n")()

    assert follow(log, cut) == b"new\n"


def test_the_running_server_says_where_its_logs_are(tmp_path, monkeypatch, record):
    monkeypatch.setenv("TEMP", str(tmp_path))
    monkeypatch.setenv("LOG_LOCATION", "/of/the/shell")
    record = dataclasses.replace(record, log_dir="/logs", metrics_dir="/metrics")
    PidFile(tmp_path).claim(record)

    assert log_path("server") == Path("/logs/ts_log.log")
    assert log_path("model-metrics") == Path("/metrics/model_metrics.log")


def test_without_a_server_it_is_the_folder_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMP", str(tmp_path))
    monkeypatch.delenv("METRICS_LOCATION", raising=False)
    monkeypatch.setenv("LOG_LOCATION", "/of/the/shell")

    assert log_path("access") == Path("/of/the/shell/access_log.log")
    assert log_path("metrics") == Path("logs/ts_metrics.log")


def test_the_command_prints_and_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMP", str(tmp_path))
    monkeypatch.setenv("LOG_LOCATION", str(tmp_path))
    (tmp_path / "ts_log.log").write_text("a\nb\n")

    result = CliRunner().invoke(command, ["-n", "1"], standalone_mode=False)
    assert (result.return_value, result.stdout) == (0, "b\n")

    result = CliRunner().invoke(command, ["model"], standalone_mode=False)
    assert result.return_value == 1
    assert "model_log.log cannot be read: No such file" in result.stderr
