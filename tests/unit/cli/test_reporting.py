"""Telling console, pid file and launcher about a start."""

from __future__ import annotations

import os

import click
import pytest

from tsl.cli.pidfile import PidFile
from tsl.cli.reporting import (
    ConsoleReporter,
    FanOut,
    PidFileReporter,
    PipeReporter,
    decode_moment,
    encode_moment,
)
from tsl.cli.summary import Example


class Recorder:
    """Remembers which moments it was told."""

    def __init__(self, name, told):
        self.name = name
        self.told = told

    def listening(self, report):
        self.told.append((self.name, "listening", report))

    def settled(self, report):
        self.told.append((self.name, "settled", report))


def test_all_reporters_are_told_in_order(report):
    told = []
    fan_out = FanOut([Recorder("a", told), Recorder("b", told)])

    fan_out.listening(report)
    fan_out.settled(report)

    assert [entry[:2] for entry in told] == [
        ("a", "listening"),
        ("b", "listening"),
        ("a", "settled"),
        ("b", "settled"),
    ]


def test_the_console_gets_the_summary(report, capsys):
    reporter = ConsoleReporter(Example())

    reporter.listening(report)
    assert capsys.readouterr().out.startswith("Model server started.\n")

    reporter.settled(report)
    assert "curl" in capsys.readouterr().out


def test_a_closed_stdout_does_not_end_the_server(report, monkeypatch, caplog):
    def echo(_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(click, "echo", echo)

    ConsoleReporter(Example()).listening(report)

    assert "Broken pipe" in caplog.text


def test_the_pid_file_gets_the_true_addresses(report, record, tmp_path):
    pid_file = PidFile(tmp_path)
    pid_file.claim(record)

    PidFileReporter(pid_file, record).listening(report)

    assert pid_file.read().metrics == report.metrics


def test_a_pid_file_that_cannot_be_written_does_not_end_the_server(
    report, record, tmp_path, caplog
):
    PidFileReporter(PidFile(tmp_path / "gone"), record).listening(report)

    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("moment", ["listening", "settled"])
def test_a_moment_survives_the_pipe(report, moment):
    assert decode_moment(encode_moment(moment, report)) == (moment, report)


def test_the_launcher_is_told_and_then_let_go(report):
    reader, writer = os.pipe()
    reporter = PipeReporter(writer)

    reporter.listening(report)
    reporter.settled(report)

    with os.fdopen(reader, "rb") as pipe:
        moments = [decode_moment(line)[0] for line in pipe]
    assert moments == ["listening", "settled"]


def test_a_launcher_that_left_does_not_end_the_server(report, caplog):
    reader, writer = os.pipe()
    reporter = PipeReporter(writer)
    os.close(reader)

    with caplog.at_level("INFO"):
        reporter.settled(report)

    assert "launcher is gone" in caplog.text


def test_workers_do_not_inherit_the_pipe():
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)

    PipeReporter(writer)

    assert not os.get_inheritable(writer)
    os.close(reader)
    os.close(writer)
