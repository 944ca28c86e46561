"""Running the server in this process, with a server that is none."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest

from tsl.cli import foreground
from tsl.cli.foreground import StartContext, serve
from tsl.cli.pidfile import PidFile
from tsl.frontend.config import ServerConfig
from tsl.protocol.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_logging(monkeypatch):
    monkeypatch.setattr(foreground, "configure_logging", lambda *_, **__: io.StringIO())


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "vmargs=-Xmx1g\nunknown=1\ndrain_timeout=5\n"
    return ServerConfig.load(text, {"TEMP": str(tmp_path)}, {"model_store": tmp_path})


def test_the_server_runs_while_the_pid_file_is_held(config, tmp_path):
    seen = []

    def run(_config, _reporter):
        seen.append(PidFile(tmp_path).read())
        return 0

    assert serve(config, StartContext(), run) == 0
    assert seen[0].working_dir == str(tmp_path)
    assert seen[0].stop_within_s == 15.0
    assert PidFile(tmp_path).read() is None


def test_the_exit_code_is_the_servers(config):
    assert serve(config, StartContext(), lambda *_: 143) == 143


def test_what_happens_is_printed_and_written_to_the_pid_file(config, report, tmp_path, capsys):
    addresses = []

    def run(_config, reporter):
        reporter.listening(report)
        addresses.append(PidFile(tmp_path).read().inference)
        reporter.settled(report)
        return 0

    serve(config, StartContext(curl_lines=("curl {inference}/x",)), run)

    out = capsys.readouterr().out
    assert addresses == [report.inference]
    assert out.startswith("Model server started.\n")
    assert "failed      bad 2.0" in out
    assert 'curl -H "Authorization: Bearer $(tsl token)" http://127.0.0.1:8080/x' in out


def test_a_running_server_is_named_and_nothing_is_started(
    config, record, tmp_path, capsys, monkeypatch
):
    other = dataclasses.replace(record, pid=1, start_ticks=1)
    monkeypatch.setattr("tsl.cli.pidfile.start_ticks_of", lambda *_: 1)
    PidFile(tmp_path).claim(other)

    code = serve(config, StartContext(), lambda *_: pytest.fail("it was started"))

    first, second = capsys.readouterr().err.splitlines()
    assert code == 1
    assert first == (
        "TorchServe is already running, please use torchserve --stop to stop TorchServe."
    )
    assert "Process 1 serves http://127.0.0.1:8080" in second


def test_a_server_that_cannot_start_says_why_without_a_traceback(config, tmp_path, capsys):
    def run(_config, _reporter):
        raise ConfigError("Port 8080 is taken.", "Use another one.")

    code = serve(config, StartContext(), run)

    assert code == 1
    assert capsys.readouterr().err == (
        "Cannot start: Port 8080 is taken.\nCannot start: Use another one.\n"
    )
    assert PidFile(tmp_path).read() is None


def test_a_bug_is_logged_with_its_traceback_and_told_briefly(config, capsys, caplog):
    def run(_config, _reporter):
        raise ZeroDivisionError

    assert serve(config, StartContext(), run) == 1
    assert "ZeroDivisionError" in caplog.text
    assert "Traceback" not in capsys.readouterr().err


def test_properties_that_are_not_used_are_logged(config, caplog):
    with caplog.at_level("INFO"):
        serve(config, StartContext(), lambda *_: 0)

    assert "Unknown properties are not used: unknown." in caplog.text
    assert "Properties of the Java server are not used: vmargs" in caplog.text


def test_a_work_dir_that_cannot_be_written_is_a_reason_not_to_start(config, tmp_path, capsys):
    gone = dataclasses.replace(config, work_dir=tmp_path / "gone")

    assert serve(gone, StartContext(), lambda *_: 0) == 1
    assert "Set TEMP or TMPDIR" in capsys.readouterr().err


def test_the_pid_file_says_whether_requests_need_a_token(config, tmp_path):
    seen = []

    def run(_config, _reporter):
        seen.append(PidFile(tmp_path).read())
        return 0

    without = dataclasses.replace(config, disable_token_authorization=True)
    with_file = dataclasses.replace(config, keys_file=Path("keys.json"))
    for each in (config, without, with_file):
        serve(each, StartContext(), run)

    assert [record.needs_token for record in seen] == [True, False, True]
    assert [record.keys_file for record in seen] == ["", "", str(tmp_path / "keys.json")]
    assert [foreground.example_of(each, ()).needs_token for each in (config, without)] == [
        True,
        False,
    ]
