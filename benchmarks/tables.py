"""Kept numbers to Markdown tables."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .peers.ceiling import PlainLoop
from .peers.registry import ALL
from .report import table
from .scenarios.base import Column
from .scenarios.registry import Scenario

_TITLES = {peer.name: peer.title for peer in ALL}


def scenario_table(scenario: Scenario, document: Mapping[str, Any]) -> str:
    """Medians with their spread, and each peer's share of the ceiling and of tsl."""
    rows = {(row["peer"], row["at"]): row for row in document["rows"]}
    order = list(_TITLES)
    first = scenario.columns[0]
    lines = []
    for peer, at in sorted(rows, key=lambda key: (key[1], order.index(key[0]))):
        row = rows[peer, at]
        values = row["values"].get(first.key)
        ceiling = rows.get(("ceiling", at), {}).get("values", {}).get(first.key)
        tsl = rows.get(("tsl", at), {}).get("values", {}).get(first.key)
        cells = [cell(row["values"], column) for column in scenario.columns]
        lines.append(
            [
                title(peer, scenario),
                number(at),
                cells[0],
                spread(row["values"], first),
                share(values, ceiling) if peer != "ceiling" else "",
                share(values, tsl) if peer != "tsl" else "",
                *cells[1:],
                f"INVALID: {row['errors']}" if row["errors"] else "0",
            ]
        )
    headings = [column.heading for column in scenario.columns]
    return table(
        [
            "server",
            scenario.axis,
            headings[0],
            "min–max",
            "of ceiling",
            "of tsl",
            *headings[1:],
            "errors",
        ],
        lines,
    )


def title(peer: str, scenario: Scenario) -> str:
    """How a table calls a server; the ceiling of a real model is another one."""
    if peer == PlainLoop.name and scenario.has_model:
        return PlainLoop.title
    return _TITLES[peer]


def provenance(document: Mapping[str, Any]) -> str:
    """Where, when and with what the rows of a table were made."""
    lines = []
    for run in document["runs"]:
        machine, settings = run["machine"], run["settings"]
        versions = [f"{name} {version}" for name, version in run["peers"].items() if version]
        lines.append(
            f"Commit `{run['versions']['commit']}`, {run['measured_at']}; {settings['rounds']} rounds"
            f" of {settings['seconds']:g} s; {machine['cpu']}, {machine['cores']} cores, Linux"
            f" {machine['kernel']}, Python {run['versions']['python']}; {', '.join(versions)}."
        )
        lines += [
            f"{_TITLES.get(name, name)} could not be measured: {text.splitlines()[0][:200]}"
            for name, text in run["failed"].items()
        ]
    return "\n".join(dict.fromkeys(lines))


def number(value: float) -> str:
    """A point, without a fraction it does not have."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def cell(values: Mapping[str, Sequence[float]], column: Column) -> str:
    """The median of a metric."""
    found = values.get(column.key)
    if not found:
        return "–"
    return f"{statistics.median(found) * column.factor:,.{column.digits}f}"


def spread(values: Mapping[str, Sequence[float]], column: Column) -> str:
    """Least and most."""
    found = [value * column.factor for value in values.get(column.key) or ()]
    if not found:
        return "–"
    return f"{min(found):,.{column.digits}f}–{max(found):,.{column.digits}f}"


def share(values: Sequence[float] | None, of: Sequence[float] | None) -> str:
    """Median of the ratios of the rounds: what disturbs a round disturbs both sides of it."""
    if not values or not of:
        return "–"
    return f"{statistics.median(map(operator.truediv, values, of)):.2f}"
