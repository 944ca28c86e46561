"""Waiting for a server in the background, with a process that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsl.cli.background import Launch, lines_of, open_console_log
from tsl.cli.reporting import encode_moment
from tsl.cli.summary import Example
from tsl.frontend.config import ServerConfig


class FakeProcess:
    """A process that has ended."""

    def __init__(self, code):
        self.code = code

    def wait(self):
        return self.code


class FakeLaunch(Launch):
    """Writes what a server would write, instead of starting one."""

    def __init__(self, config, told, *, code=0, output=b"", is_terminal=False):
        super().__init__(config, ["start", "--foreground"], Example(), is_terminal=is_terminal)
        self.told = told
        self.code = code
        self.output = output

    def _spawn(self, writer, console):
        os.write(writer, self.told)
        if console:
            console.write(self.output)
            console.flush()
        return FakeProcess(self.code)


@pytest.fixture
def config(tmp_path):
    return ServerConfig.load(
        None, {"TEMP": str(tmp_path), "LOG_LOCATION": str(tmp_path / "logs")}, {}
    )


@pytest.fixture
def told(report):
    return encode_moment("listening", report) + encode_moment("settled", report)


def test_into_a_pipe_only_the_server_writes(config, told, capsys):
    assert FakeLaunch(config, told).run() == 0
    assert capsys.readouterr().out == ""


def test_on_a_terminal_the_summary_is_shown(config, told, capsys):
    assert FakeLaunch(config, told, is_terminal=True).run() == 0

    out = capsys.readouterr().out
    assert "Model server started." in out
    assert "failed      bad 2.0" in out


def test_a_server_that_ends_early_shows_its_last_lines_and_hands_on_its_code(
    config, capsys, tmp_path
):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ts_console.log").write_text("from the start before\n")
    output = b"".join(b"line %d\n" % number for number in range(50))

    code = FakeLaunch(config, b"", code=1, output=output, is_terminal=True).run()

    err = capsys.readouterr().err
    assert code == 1
    assert "line 49\nThe server ended while starting, with code 1." in err
    assert "line 29\n" not in err
    assert "before" not in err


def test_a_death_by_signal_is_reported_as_a_shell_does(config):
    assert FakeLaunch(config, b"", code=-9).run() == 137


def test_an_interrupt_leaves_the_server_alone(config, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tsl.cli.background.lines_of", interrupt)

    assert FakeLaunch(config, b"").run() == 130
    assert "`tsl stop` ends it" in capsys.readouterr().out


def test_lines_are_put_together_from_any_pieces(monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, b"one\ntwo\nunfinished")
    os.close(writer)
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, _: read(descriptor, 1))

    assert list(lines_of(reader, lambda _: None)) == [b"one", b"two"]
    os.close(reader)


def test_while_nothing_comes_there_are_ticks(monkeypatch):
    readiness = iter([([], [], []), ([1], [], [])])
    monkeypatch.setattr("tsl.cli.background.select.select", lambda *_: next(readiness))
    monkeypatch.setattr(os, "read", lambda *_: b"")
    ticks = []

    assert list(lines_of(1, ticks.append)) == []
    assert len(ticks) == 1


def test_a_log_folder_that_cannot_be_written_is_replaced_by_the_work_dir(config, tmp_path):
    (tmp_path / "logs").touch()

    with open_console_log(config) as file:
        assert Path(file.name).parent == tmp_path
