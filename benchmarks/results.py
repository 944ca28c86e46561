"""What was measured, kept as JSON: one file for each scenario.

A file can be written in several goes. Each goes adds the peers and points that it has measured,
and replaces those that were there; the settings, versions and commit of each row's run stay with
the row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Row:
    """One peer at one point.

    Attributes:
        peer: its name.
        at: the point.
        values: by metric, one for each round.
        errors: of all rounds; with any of them the figures mean nothing.
        run: index of the run in the document.
    """

    peer: str
    at: float
    values: dict[str, list[float]] = field(default_factory=dict)
    errors: int = 0
    run: int = 0

    def add(self, metrics: Mapping[str, float], errors: int = 0) -> None:
        """One more round."""
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)
        self.errors += errors


def merge(old: Mapping[str, Any], run: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """A document with the rows of a new run in it.

    Args:
        old: the document so far; {} for none.
        run: machine, versions and settings of the new one, and what ``failed``.
        rows: its rows; they replace those of the same peer and point.

    Returns:
        The document: ``runs`` that still have rows, and ``rows``.
    """
    runs = [*old.get("runs", ()), dict(run)]
    merged = {(row["peer"], row["at"]): dict(row) for row in old.get("rows", ())}
    for row in rows:
        merged[row.peer, row.at] = {**asdict(row), "run": len(runs) - 1}
    used = sorted({row["run"] for row in merged.values()} | {len(runs) - 1})
    return {
        "runs": [runs[index] for index in used],
        "rows": [{**row, "run": used.index(row["run"])} for row in merged.values()],
    }


def read(folder: Path, name: str) -> dict[str, Any]:
    """The document of a scenario; {} when it was not measured."""
    try:
        text = (folder / f"{name}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    document: dict[str, Any] = json.loads(text)
    return document


def write(folder: Path, name: str, document: Mapping[str, Any]) -> None:
    """Keep the document of a scenario, rounded to six digits."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(document), indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
