"""Where a log4j2 file is named, and what beats it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsl.cli.log_config import log4j_file, with_log4j
from tsl.frontend.config import ServerConfig
from tsl.protocol.errors import ConfigError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "log4j2.xml"
    path.write_text(
        '<Configuration><Loggers><Root level="error"/><Logger name="io.netty"/></Loggers>'
        "</Configuration>"
    )
    return path


@pytest.mark.parametrize(
    ("vmargs", "expected"),
    [
        ("-Xmx4g", None),
        ("-Dlog4j.configurationFile=file:///etc/a%20b.xml -Xmx4g", Path("/etc/a b.xml")),
        ("-Xmx4g -Dlog4j2.configurationFile=etc/x.xml", Path("etc/x.xml")),
        ("-Dlog4j.configurationFile=file\\:///etc/x.xml", Path("/etc/x.xml")),
    ],
)
def test_vmargs_can_name_the_file(vmargs, expected):
    assert log4j_file(f"number_of_gpu=0\nvmargs={vmargs}\n") == expected


def test_a_configuration_without_vmargs_names_none():
    assert log4j_file("") is None


def test_what_the_file_says_becomes_part_of_the_configuration(file):
    config = with_log4j(ServerConfig.load("", {}, {}), file, {})

    assert config.log_levels.startswith("access=error,")
    assert config.warnings == (f"Not used of {file}: the loggers io.netty.",)


def test_settings_that_are_written_beat_it(file):
    config = with_log4j(ServerConfig.load("log_levels=debug", {}, {}), file, {})

    assert config.log_levels == "debug"


def test_a_file_that_cannot_be_used_is_explained(tmp_path):
    with pytest.raises(ConfigError) as caught:
        with_log4j(ServerConfig.load("", {}, {}), tmp_path / "absent.xml", {})

    assert "absent.xml cannot be read" in caught.value.problems[0]
    assert "--log-config" in caught.value.problems[1]
