"""log4j2 files: what of them counts, and what is named as not used."""

from __future__ import annotations

import pytest

from tsl.frontend.logs.log4j import read_log4j
from tsl.protocol.errors import ConfigError

LIKE_TORCHSERVES = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Properties><Property name="dir">${env:LOG_LOCATION:-logs}</Property></Properties>
  <Appenders>
    <RollingFile name="access_log" fileName="${dir}/access.txt"
                 filePattern="${env:LOG_LOCATION:-logs}/access_log.%d{dd-MMM}.log.gz">
      <PatternLayout pattern="%d{ISO8601} - %m%n"/>
      <Policies>
        <SizeBasedTriggeringPolicy size="10 MB"/>
        <TimeBasedTriggeringPolicy/>
      </Policies>
      <DefaultRolloverStrategy max="7"/>
    </RollingFile>
    <RollingFile name="ts_log" fileName="/var/log/ts.log">
      <PatternLayout pattern="%d{ISO8601} [%-5p] %t %c - %m%n"/>
    </RollingFile>
    <Console name="STDOUT" target="SYSTEM_OUT">
      <PatternLayout pattern="%d{ISO8601} [%-5p] %t %c - %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="info"><AppenderRef ref="access_log"/></Logger>
    <Logger name="MODEL_METRICS" level="OFF"/>
    <Logger name="io.netty" level="error"/>
    <Logger name="org.pytorch.serve" level="debug" additivity="false">
      <AppenderRef ref="ts_log"/>
    </Logger>
    <Root level="warn"><AppenderRef ref="STDOUT"/><AppenderRef ref="ts_log"/></Root>
  </Loggers>
</Configuration>
"""


@pytest.fixture
def read(tmp_path):
    def make(text, environ=None):
        path = tmp_path / "log4j2.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_log4j(path, environ or {})

    return make


def test_levels_files_sizes_and_console_are_taken(read):
    found = read(LIKE_TORCHSERVES, {"LOG_LOCATION": "/logs"})

    assert found.values == {
        "log_levels": "access=info,model=warn,ts_metrics=warn,model_metrics=off,server=debug",
        "log_files": "access=/logs/access.txt,server=/var/log/ts.log",
        "log_console": "access,model,ts_metrics,model_metrics",
        "log_max_size": 10 * 1024 * 1024,
        "log_kept_files": 7,
    }
    assert found.ignored == ["rolling by time", "the loggers io.netty"]


def test_a_relative_file_is_one_of_the_working_folder(read, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert f"access={tmp_path}/logs/access.txt" in read(LIKE_TORCHSERVES).values["log_files"]


def wrapped(appenders, loggers='<Root level="info"><AppenderRef ref="a"/></Root>'):
    return (
        f"<Configuration><Appenders>{appenders}</Appenders><Loggers>{loggers}</Loggers>"
        "</Configuration>"
    )


@pytest.mark.parametrize("layout", ["JSONLayout", "JsonTemplateLayout"])
def test_a_json_layout_means_json(read, layout):
    found = read(wrapped(f'<Console name="a"><{layout} compact="true"/></Console>'))

    assert found.values["log_format"] == "json"
    assert found.values["log_console"] == "true"


def test_without_a_console_appender_there_is_no_console(read):
    found = read(wrapped('<File name="a" fileName="/x.log"/>'))

    assert found.values["log_console"] == "false"
    assert "log_files" not in found.values  # the root's file is nobody's own


def test_case_and_namespace_do_not_matter(read):
    text = wrapped(
        '<console name="a"/>', '<asyncRoot level="ERROR"><appenderref ref="a"/></asyncRoot>'
    ).replace(
        "<Configuration>", '<configuration xmlns="http://logging.apache.org/log4j/2.0/config">'
    )

    found = read(text.replace("</Configuration>", "</configuration>"))

    assert "access=error" in found.values["log_levels"]


@pytest.mark.parametrize(
    ("appender", "ignored"),
    [
        ('<Console name="a"><PatternLayout pattern="%m%n"/></Console>', "the pattern of a"),
        ('<Console name="a"><PatternLayout><Pattern>%m%n</Pattern></PatternLayout></Console>', "the pattern of a"),
        ('<Kafka name="a" topic="t"/>', "the appender a (kafka)"),
        ('<File name="a" fileName="/x,y.log"/>', "the file name /x,y.log, which has a comma"),
        (
            '<RollingFile name="a"><SizeBasedTriggeringPolicy size="much"/></RollingFile>',
            "the size 'much'",
        ),
    ],
)  # fmt: skip
def test_what_is_not_used_is_named(read, appender, ignored):
    assert ignored in read(wrapped(appender)).ignored


def test_an_unknown_level_is_named(read):
    found = read(wrapped("", '<Root level="loud"/>'))

    assert found.ignored == ["the level 'loud'"]
    assert "log_levels" not in found.values


@pytest.mark.parametrize(
    ("size", "expected"),
    [("250", 250), ("1 KB", 1024), ("1.5MB", 1572864), ("2 gb", 2 * 1024**3), ("3M", 3 * 1024**2)],
)
def test_sizes(read, size, expected):
    appender = f'<RollingFile name="a"><SizeBasedTriggeringPolicy size="{size}"/></RollingFile>'

    assert read(wrapped(appender)).values["log_max_size"] == expected


def test_a_file_without_an_opinion_changes_nothing(read):
    assert read("<Configuration/>").values == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<Configuration>", "is no XML"),
        ("rootLogger.level = info", "is no XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Configuration/>', "document type"),
        (b"\xff\xfe<\x00", "is no XML"),
    ],
)
def test_what_is_no_such_file_is_refused(read, text, said):
    with pytest.raises(ConfigError, match=said):
        read(text)


def test_a_file_is_bounded_and_must_be_there(read, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_log4j(tmp_path / "none.xml", {})
    monkeypatch.setattr("tsl.frontend.logs.log4j.MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="larger than 10 bytes"):
        read(LIKE_TORCHSERVES)
