"""Kept numbers to Markdown tables: ``python -m benchmarks.report FILE …``."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def measurements_table(entries: Iterable[Mapping[str, Any]]) -> str:
    """The table of single figures.

    Args:
        entries: with ``name``, ``unit`` and ``values``.
    """
    rows = [
        [
            entry["name"],
            f"{statistics.median(entry['values']):,.1f} {entry['unit']}",
            f"{min(entry['values']):,.1f}–{max(entry['values']):,.1f}",
            str(len(entry["values"])),
        ]
        for entry in entries
    ]
    return table(["what", "median", "min–max", "runs"], rows)


def document_text(document: Mapping[str, Any]) -> str:
    """Everything that one JSON file says."""
    machine, versions = document["machine"], document["versions"]
    parts = [
        f"`{document['command']}`, {document['measured_at']}",
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, load average "
        f"before: {machine['load_average_before']:.2f}",
        ", ".join(f"{name} {value}" for name, value in versions.items()),
    ]
    if "measurements" in document:
        parts.append(measurements_table(document["measurements"]))
    return "\n\n".join(parts)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args()
    texts = [document_text(json.loads(file.read_text(encoding="utf-8"))) for file in options.files]
    print("\n\n".join(texts))


if __name__ == "__main__":
    main()
