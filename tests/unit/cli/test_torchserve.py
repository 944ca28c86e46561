"""The options of TorchServe's launcher, and what becomes of them."""

from __future__ import annotations

import os

import pytest

from ts.version import __version__
from tsl.cli import torchserve
from tsl.cli.server_process import MARKER
from tsl.cli.start import command
from tsl.cli.start_options import StartOptions


@pytest.fixture
def calls(monkeypatch):
    """What would have been run: ``("tsl", words)`` or ``("exec", command line)``."""
    made = []

    def run(words):
        made.append(("tsl", words))
        return 7

    monkeypatch.setattr(torchserve, "_tsl", run)
    monkeypatch.setattr(os, "execv", lambda _, line: made.append(("exec", line)))
    return made


def start_options(line):
    """What ``tsl start`` understands of the words."""
    words = torchserve.start_words(torchserve.parser().parse_args(line.split()))
    assert words[0] == "start"
    return StartOptions(**command.make_context("start", words[1:]).params)


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_the_version_is_the_one_of_the_interface(calls, capsys, option):
    assert torchserve.main([option]) == 0

    assert capsys.readouterr().out == f"TorchServe Version is {__version__}\n"
    assert calls == []


@pytest.mark.parametrize("line", ["--start", "", "--ncs"])
def test_starting_is_the_default_and_happens_in_the_background(calls, line):
    assert torchserve.main(line.split()) == 7

    ((kind, words),) = calls
    assert (kind, words[0]) == ("tsl", "start")
    assert "--foreground" not in words


@pytest.mark.parametrize("line", ["--stop", "--stop --foreground"])
def test_stop_stops(calls, line):
    assert torchserve.main(line.split()) == 7

    assert calls == [("tsl", ["stop"])]


def test_in_the_foreground_the_process_becomes_the_server(calls):
    torchserve.main(["--start", "--foreground", "--model-store", "s"])

    ((kind, line),) = calls
    assert kind == "exec"
    assert line.count(MARKER) == 1
    assert line[-4:] == ["tsl.cli", "start", "--model-store=s", "--foreground"]


@pytest.mark.parametrize(
    "line",
    [
        "--ts-config f --model-store s --workflow-store w --log-config l",
        "--ts-config=f --model-store=s --workflow-store=w --log-config=l",
        "--ts-c f --model-s s --work w --log l",
    ],
    ids=["words", "equals", "shortened"],
)
def test_options_with_a_value(line):
    options = start_options(line)

    found = (options.ts_config, options.model_store, options.workflow_store, options.log_config)
    assert [str(path) for path in found] == ["f", "s", "w", "l"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", (False, False, False)),
        ("--no-config-snapshots --disable-token-auth --enable-model-api", (True, True, True)),
        ("--ncs --dt", (True, True, False)),
    ],
)
def test_switches(line, expected):
    options = start_options(line)

    found = (options.no_config_snapshots, options.disable_token_auth, options.enable_model_api)
    assert found == expected


@pytest.mark.parametrize("line", ["--models a.mar b=c.mar --ncs", "--models a.mar,b=c.mar"])
def test_many_models(line):
    assert start_options(line).overrides()["load_models"] == "a.mar,b=c.mar"


@pytest.mark.parametrize(
    "line", ["--start --stop", "-v --start", "--models", "--no-such-option", "word"]
)
def test_a_wrong_command_line_ends_with_2(calls, line, capsys):
    with pytest.raises(SystemExit) as caught:
        torchserve.main(line.split())

    assert caught.value.code == 2
    assert "torchserve: error:" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--plugins-path", "--ppath", "--cpp-log-config"])
def test_what_only_java_needs_is_accepted_with_one_line(calls, option, capsys):
    torchserve.main([option, "somewhere"])

    assert calls == [("tsl", ["start"])]
    assert capsys.readouterr().err.count("it is ignored.\n") == 1


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        torchserve.main(["-h"])

    text = capsys.readouterr().out
    assert caught.value.code == 0
    for option in (
        *("--version", "--start", "--stop", "--ts-config", "--model-store", "--workflow-store"),
        *("--models", "--log-config", "--cpp-log-config", "--foreground", "--ncs", "--ppath"),
        *("--no-config-snapshots", "--plugins-path", "--disable-token-auth", "--dt"),
        "--enable-model-api",
    ):
        assert option in text


def test_the_version_is_that_of_the_names_in_ts():
    assert __version__ == torchserve.TORCHSERVE_VERSION
