"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from . import fresh, machine, results, steady
from .load.wrk import check_installed
from .peers import registry
from .peers.base import Peer
from .processes import ROOT, exit_on_sigterm
from .scenarios.fresh import Fresh
from .scenarios.registry import SCENARIOS, Scenario
from .tables import scenario_table

DEFAULT_RESULTS = ROOT / ".bench"
PROFILES = {"quick": (3, 1.0), "full": (5, 5.0)}
"""Rounds and seconds."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The options."""
    names = list(SCENARIOS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument(
        "--peers", nargs="+", default=list(registry.ALONE), help="names, or: all; default tsl alone"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SCENARIO")
    parser.add_argument("--points", nargs="+", type=float, help="clients, rates, sizes, ...")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--results", type=Path, default=DEFAULT_RESULTS, metavar="FOLDER")
    return parser.parse_args(argv)


def run(scenario: Scenario, peers: list[Peer], options: argparse.Namespace) -> dict[str, Any]:
    """Measure one scenario, and keep it."""
    rounds, seconds = PROFILES[options.profile]
    rounds, seconds = options.rounds or rounds, options.seconds or seconds
    points = options.points or (scenario.quick if options.profile == "quick" else scenario.points)
    description = machine.describe()
    if scenario.peers:
        peers = [peer for peer in peers if peer.name in scenario.peers]
    measure: Any = fresh.measure if isinstance(scenario, Fresh) else steady.measure
    rows, failed = measure(scenario, peers, points, rounds=rounds, seconds=seconds)
    description["settings"] = {"rounds": rounds, "seconds": seconds}
    description["peers"] = {peer.name: peer.version() for peer in peers}
    description["failed"] = failed
    document = results.merge(results.read(options.results, scenario.name), description, rows)
    results.write(options.results, scenario.name, document)
    return document


def main(argv: list[str] | None = None) -> int:
    """Run from the command line.

    Returns:
        1 when any answer was wrong, else 0.
    """
    options = parse(sys.argv[1:] if argv is None else argv)
    check_installed()
    exit_on_sigterm()
    peers = registry.select(options.peers)
    wrong = 0
    for name in options.only:
        scenario = SCENARIOS[name]
        document = run(scenario, peers, options)
        wrong += sum(row["errors"] for row in document["rows"])
        print(f"## {scenario.title}\n\n{scenario_table(scenario, document)}\n", flush=True)
    return int(wrong > 0)
