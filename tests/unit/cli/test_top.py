"""The table of ``tsl top``."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from tsl.cli import top
from tsl.cli.sampling import Row
from tsl.cli.status import ModelStatus
from tsl.cli.top import NO_COUNTERS, _screen, cells, command

BUSY = Row(
    status=ModelStatus("[red]m", "1.0", 1, 2, 3),
    in_flight=2,
    requests_per_s=12.34,
    errors_per_s=0,
    p50_ms=1.26,
    p99_ms=99.94,
    queue_ms=0.5,
    memory_bytes=123_456_789,
)
QUIET = Row(
    status=ModelStatus("q", "1.0", 0, 0, None),
    in_flight=None,
    requests_per_s=None,
    errors_per_s=None,
    p50_ms=None,
    p99_ms=None,
    queue_ms=None,
    memory_bytes=0,
)


@pytest.fixture
def run(monkeypatch, record):
    def invoke(line, found):
        monkeypatch.setattr(top, "connect", lambda environ: SimpleNamespace(record=record))
        monkeypatch.setattr(top, "_rows", lambda server, interval_s: iter([(None, found)]))
        return CliRunner().invoke(command, line.split(), standalone_mode=False)

    return invoke


def test_a_row_has_a_dash_for_what_is_not_known():
    assert cells(BUSY) == (
        *("[red]m", "1.0", "degraded", "1/2", "3", "2", "12.3", "0.0", "1.3", "99.9", "0.5"),
        "123 MB",
    )
    assert cells(QUIET) == ("q", "1.0", "no workers", "0/0", *"--------")


@pytest.mark.parametrize("line", ["--once", ""], ids=["once", "into a pipe"])
def test_where_nobody_watches_one_table_is_written(run, line):
    result = run(line, [BUSY, QUIET])

    assert result.return_value == 0
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == ""


def test_what_is_missing_is_said_beside_the_table(run):
    assert run("--once", [QUIET]).stderr == f"{NO_COUNTERS}\n"


def test_json_has_the_numbers_unrounded(run):
    (document,) = json.loads(run("--json", [BUSY]).stdout)

    assert document == {
        "name": "[red]m",
        "version": "1.0",
        "ready": 1,
        "wanted": 2,
        "queued": 3,
        "state": "degraded",
        "in_flight": 2,
        "requests_per_s": 12.34,
        "errors_per_s": 0,
        "p50_ms": 1.26,
        "p99_ms": 99.94,
        "queue_ms": 0.5,
        "memory_bytes": 123_456_789,
    }


@pytest.mark.parametrize(
    ("found", "note", "shown"),
    [
        ([BUSY], "", "[red]m"),
        ([QUIET], "", NO_COUNTERS),
        ([], "", "No models are loaded."),
        ([], "Waiting: it is silent", "Waiting: it is silent"),
    ],
)
def test_the_screen(record, found, note, shown):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(_screen(SimpleNamespace(record=record), found, note))
    console.file.close()

    text = console.export_text()
    assert f"process {record.pid}" in text
    assert shown in text
