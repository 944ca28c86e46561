"""Curves of kept numbers, as SVG; needs the extra ``bench`` (matplotlib)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .scenarios.registry import Scenario
from .tables import title

_LEAST_POINTS: Final = 3
_PANELS: Final = (
    ("rate", "requests/s", 1.0),
    ("chunks", "chunks/s", 1.0),
    ("mb_s", "MB/s", 1.0),
    ("p99_us", "p99, ms", 1e-3),
    ("pss_mb", "memory, MB (PSS)", 1.0),
)


def is_curve(document: Mapping[str, Any]) -> bool:
    """Whether there are enough points for one."""
    return len({row["at"] for row in document["rows"]}) >= _LEAST_POINTS


def curves(
    document: Mapping[str, Any], key: str, factor: float
) -> dict[str, list[tuple[float, float, float, float]]]:
    """Points of each peer for one metric.

    Returns:
        (point, median, least, most) in the order of the points, by peer.
    """
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in sorted(document["rows"], key=lambda row: row["at"]):
        values = [value * factor for value in row["values"].get(key, ())]
        if values and not row["errors"]:
            point = (row["at"], statistics.median(values), min(values), max(values))
            found.setdefault(row["peer"], []).append(point)
    return found


def draw(scenario: Scenario, document: Mapping[str, Any], target: Path) -> None:
    """One panel for each metric that was measured: what is done, how long it takes, what it keeps.

    Args:
        scenario: what was measured.
        document: its numbers.
        target: SVG file; the same numbers give the same bytes.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = scenario.name
    from matplotlib import pyplot

    panels = [panel for panel in _PANELS if curves(document, panel[0], panel[2])]
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4 * len(panels), 3.4), squeeze=False, layout="constrained"
    )
    for axis, (key, label, factor) in zip(axes[0], panels, strict=True):
        for peer, points in curves(document, key, factor).items():
            places, medians, least, most = zip(*points, strict=True)
            (line,) = axis.plot(places, medians, marker=".", label=title(peer, scenario))
            axis.fill_between(places, least, most, alpha=0.2, color=line.get_color())
        axis.set(xscale="log", yscale="log", xlabel=scenario.axis, title=label)
        axis.grid(visible=True, which="major", alpha=0.3)
    axes[0][0].legend(fontsize="x-small")
    figure.suptitle(scenario.title, fontsize="medium")
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)
