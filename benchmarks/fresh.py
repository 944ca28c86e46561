"""Measure servers that are started for it, by turns, and stopped again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from .peers.base import Peer
from .results import Row
from .scenarios.fresh import Fresh
from .steady import BROKEN, note


def measure(
    scenario: Fresh,
    peers: Sequence[Peer],
    points: Sequence[float],
    *,
    rounds: int,
    seconds: float,
) -> tuple[list[Row], dict[str, str]]:
    """All peers at all points, by turns; arguments and result as in `steady.measure`."""
    failed: dict[str, str] = {}
    rows: dict[tuple[str, float], Row] = {}
    for number in range(1, rounds + 1):
        for at in points:
            for peer in peers:
                if peer.name in failed or not peer.serves(scenario.service(at)):
                    continue
                note(f"\r{scenario.name}: round {number}/{rounds}, {at:g} {scenario.axis}, ")
                note(f"{peer.name:<20}")
                row = rows.setdefault((peer.name, at), Row(peer.name, at))
                try:
                    row.add(measure_once(scenario, peer, at, seconds))
                except BROKEN as error:
                    failed[peer.name] = f"{type(error).__name__}: {error}"
                    note(f"\n{peer.name}: {failed[peer.name]}\n")
    note("\n")
    return [row for row in rows.values() if row.values], failed


def measure_once(scenario: Fresh, peer: Peer, at: float, seconds: float) -> dict[str, float]:
    """Start, ask, measure, stop."""
    with tempfile.TemporaryDirectory(prefix="tsl-bench-") as name:
        folder = Path(name) / peer.name
        folder.mkdir()
        with peer.start(scenario.service(at), folder) as running:
            running.wait_for_answer(scenario.body())
            return dict(scenario.measure(running, at, seconds, folder))
