"""``tsl top``: a table of models, workers, queues, rates and latencies that renews itself."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from .api_client import NoAnswer
from .connected import Connected, connect, reports_failures
from .exit_codes import ExitCode
from .sampling import Look, Row, look, rows
from .tables import aligned

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADINGS: Final = (
    "MODEL", "VERSION", "STATE", "WORKERS", "QUEUE", "RUNNING", "REQ/S", "ERR/S", "P50 MS",
    "P99 MS", "WAIT MS", "MEMORY",
)  # fmt: skip
NO_COUNTERS: Final = "Rates and latencies need metrics_mode=prometheus."
_MB: Final = 1_000_000
_LEFT: Final = 3
"""Columns of text; the others are numbers."""
_STYLES: Final = {"ready": "green", "degraded": "yellow", "not ready": "red"}


@click.command("top")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Show one table and end; also where nobody watches.")
@click.option("--json", "as_json", is_flag=True, help="Write one look as JSON and end.")
@reports_failures
def command(interval_s: float, once: bool, as_json: bool) -> int:
    """Watch the server. Ctrl-C ends it.

    Latencies are of the time between two looks; WAIT is the mean time in the queue.
    """
    server = connect(os.environ)
    try:
        if as_json or once or not sys.stdout.isatty():
            _print_once(server, interval_s, as_json=as_json)
        else:
            _watch(server, interval_s)
    except KeyboardInterrupt:
        pass  # this is how people leave it
    return ExitCode.OK


def _print_once(server: Connected, interval_s: float, *, as_json: bool) -> None:
    _, found = next(_rows(server, interval_s))
    if as_json:
        click.echo(json.dumps([_document(row) for row in found], indent=2, ensure_ascii=False))
        return
    for line in aligned([HEADINGS, *map(cells, found)]):
        click.echo(line)
    if not has_counters(found):
        click.echo(NO_COUNTERS, err=True)


def _rows(server: Connected, interval_s: float) -> Iterator[tuple[Look, list[Row]]]:
    """A look and its rows, again and again."""
    before = look(server)
    while True:
        time.sleep(interval_s)
        now = look(server)
        yield now, rows(before, now)
        before = now


def _watch(server: Connected, interval_s: float) -> None:
    from rich.live import Live  # half of a second's work that only a terminal needs

    with Live(_screen(server, [], "Looking ..."), screen=True, auto_refresh=False) as live:
        looks = _rows(server, interval_s)
        while True:
            try:
                _, found = next(looks)
                live.update(_screen(server, found), refresh=True)
            except NoAnswer as error:
                # It may be starting anew under another number: find it again.
                live.update(_screen(server, [], f"Waiting: {error}"), refresh=True)
                time.sleep(interval_s)
                server = connect(os.environ)
                looks = _rows(server, interval_s)


def _screen(server: Connected, found: Sequence[Row], note: str = "") -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    record = server.record
    title = f"process {record.pid}, since {record.started_at}, {record.inference}"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < _LEFT else "right", no_wrap=True)
    for row in found:
        # A model's name is not ours: no markup in it counts.
        style = _STYLES.get(row.status.state, "")
        table.add_row(
            *(
                Text(cell, style=style if number == 2 else "")
                for number, cell in enumerate(cells(row))
            )
        )
    if not note and not found:
        note = "No models are loaded."
    elif not note and not has_counters(found):
        note = NO_COUNTERS
    return Group(Text(title, style="dim"), table, Text(note, style="dim"))


def has_counters(found: Sequence[Row]) -> bool:
    """Whether the metrics page tells rates."""
    return not found or any(row.requests_per_s is not None for row in found)


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    status = row.status
    return (
        status.name,
        status.version,
        status.state,
        f"{status.ready}/{status.wanted}",
        _number(status.queued, 0),
        _number(row.in_flight, 0),
        _number(row.requests_per_s, 1),
        _number(row.errors_per_s, 1),
        _number(row.p50_ms, 1),
        _number(row.p99_ms, 1),
        _number(row.queue_ms, 1),
        f"{row.memory_bytes / _MB:.0f} MB" if row.memory_bytes else "-",
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _document(row: Row) -> dict[str, Any]:
    document = dataclasses.asdict(row)
    status = document.pop("status")
    return {**status, "state": row.status.state, **document}
