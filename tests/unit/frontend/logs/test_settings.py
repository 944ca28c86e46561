"""How texts of the configuration become log settings, and settings logs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tsl.frontend.config import ServerConfig
from tsl.frontend.logs.fields import OFF, parse_console, parse_files, parse_levels
from tsl.frontend.logs.line_log import LineWriter
from tsl.frontend.logs.settings import LogSettings
from tsl.protocol.errors import ConfigError

ALL = {"access", "server", "model", "ts_metrics", "model_metrics"}


def settings(*properties):
    return LogSettings.of(ServerConfig.load("\n".join(properties), {}, {}))


def test_the_defaults_are_torchserves():
    found = settings()

    assert set(found.levels.values()) == {logging.INFO}
    assert {str(file) for file in found.files.values()} == {
        "logs/access_log.log",
        "logs/ts_log.log",
        "logs/model_log.log",
        "logs/ts_metrics.log",
        "logs/model_metrics.log",
    }
    assert found.on_console == ALL
    assert (found.max_bytes, found.kept_files) == (100 * 1024 * 1024, 5)
    assert not found.is_json


def test_metrics_have_a_folder_of_their_own():
    environ = {"LOG_LOCATION": "/a", "METRICS_LOCATION": "/b"}
    found = LogSettings.of(ServerConfig.load("log_files=access=x.log", environ, {}))

    assert found.files["access"] == Path("/a/x.log")
    assert found.files["ts_metrics"] == Path("/b/ts_metrics.log")


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("", {}),
        ("warn", dict.fromkeys(ALL, logging.WARNING)),
        ("access=OFF, model = error", {"access": OFF, "model": logging.ERROR}),
        ("off,server=debug", {**dict.fromkeys(ALL, OFF), "server": logging.DEBUG}),
    ],
)
def test_levels(text, levels):
    assert parse_levels(text) == levels


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_levels, "loud", "no level"),
        (parse_levels, "acces=off", "no log"),
        (parse_files, "access", "LOG=FILE"),
        (parse_files, "access=", "LOG=FILE"),
        (parse_console, "yes", "no log"),
    ],
)
def test_mistakes_are_named(parse, text, said):
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_mistakes_stop_the_start():
    with pytest.raises(ConfigError, match="log_levels=loud"):
        ServerConfig.load("log_levels=loud", {}, {})


@pytest.mark.parametrize(
    ("text", "logs"),
    [("true", ALL), ("FALSE", set()), ("access, server", {"access", "server"})],
)
def test_the_console(text, logs):
    assert parse_console(text) == logs


@pytest.fixture
def write(world, tmp_path, capsysbinary):
    """Writes one line to a log; answers what is in the file and on the console."""

    def make(log, text, *properties):
        found = settings(f"log_location={tmp_path}", f"metrics_location={tmp_path}", *properties)
        writer = LineWriter(console=bool(found.on_console))
        opened = found.open_lines(log, writer)
        if opened is not None:
            opened.add(text)
        writer.close()
        file = found.files[log]
        return file.read_text() if file.exists() else None, capsysbinary.readouterr().out.decode()

    return make


def test_the_access_log_in_file_and_console(write):
    file, console = write("access", b"text")

    assert file[23:] == " - text\n"
    assert console[23:] == " [INFO ] main ACCESS_LOG - text\n"


def test_lines_of_metrics_end_in_the_time(write):
    file, console = write("ts_metrics", b"A.b:1.0")

    assert file[26:].startswith("A.b:1.0,timestamp:1")
    assert " TS_METRICS - A.b:1.0,timestamp:1" in console


def test_json_lines_say_which_log_they_are_of(write):
    file, console = write("access", b'"status":200}', "log_format=json")

    assert file == console
    assert json.loads(file) | {"time": ""} == {"time": "", "log": "access", "status": 200}


def test_the_console_can_be_left_out(write):
    assert write("access", b"x", "log_console=server")[1] == ""


@pytest.mark.parametrize("level", ["off", "warn"])
def test_off_means_that_not_even_the_file_is_made(write, level):
    assert write("access", b"x", f"log_levels=access={level}") == (None, "")
