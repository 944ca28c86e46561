"""Measure tsl and, in the same minutes, the ceiling: ``python -m benchmarks.load.run``.

Rounds are interleaved: every round visits each pair of target and number of clients once, so
that whatever else the machine does hits all of them alike. Believe the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from .. import machine
from ..processes import ROOT, cpu_seconds, exit_on_sigterm, free_ports, running
from ..report import load_table
from ..server import HOST, Server, serving
from .samples import Load, Sample
from .scenarios import SCENARIOS, STREAM_CHUNKS, STREAM_TEXT, Ceiling, Scenario
from .stream_client import run_streams
from .wrk import check_installed, run_wrk

CLIENTS: Final = (1, 16, 64, 256)
WARM_UP_CLIENTS: Final = 16
WARM_UP_S: Final = 1.0
_LISTEN_S: Final = 10.0


class Place(Protocol):
    """A server that can be asked; tsl or the ceiling."""

    @property
    def port(self) -> int:
        """TCP port."""

    @property
    def pid(self) -> int:
        """Process that listens there."""

    def key(self) -> str:
        """Token to send, "" for none."""


@dataclass(frozen=True, slots=True)
class Bare:
    """A running ceiling."""

    port: int
    pid: int

    def key(self) -> str:
        """It takes everybody."""
        return ""


@dataclass(frozen=True, slots=True)
class Target:
    """One server under one kind of traffic.

    Attributes:
        name: of the scenario, or ``ceiling: …``.
        scenario: the traffic; for a ceiling, the first scenario that has it.
        place: where.
        path: request target.
        body_file: file with the scenario's body.
        ceiling: name of the target to compare with; "" for a ceiling itself.
        samples: by number of clients.
    """

    name: str
    scenario: Scenario
    place: Place
    path: str
    body_file: Path
    ceiling: str = ""
    samples: dict[int, list[Sample]] = field(default_factory=dict)

    def check(self) -> None:
        """Ask once, and look at the answer.

        Raises:
            SystemExit: it is wrong, so no rate would mean anything.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if self.place.key():
            headers["Authorization"] = f"Bearer {self.place.key()}"
        with contextlib.closing(http.client.HTTPConnection(HOST, self.place.port)) as connection:
            connection.request("POST", self.path, self.scenario.body, headers)
            response = connection.getresponse()
            body = response.read()
        if response.status != 200 or body != self.scenario.answer:
            raise SystemExit(f"{self.name}: wrong answer, {response.status} {body[:200]!r}")

    def measure(self, clients: int, seconds: float) -> None:
        """Load it once, and keep what came out."""
        before_s = cpu_seconds(self.place.pid)
        load = self._load(clients, seconds)
        cpu_us = (cpu_seconds(self.place.pid) - before_s) / max(load.requests, 1) * 1e6
        self.samples.setdefault(clients, []).append(Sample(load, cpu_us))

    def _load(self, clients: int, seconds: float) -> Load:
        scenario = self.scenario
        if scenario.is_stream:
            return run_streams(
                HOST,
                self.place.port,
                self.path,
                body=scenario.body,
                text=STREAM_TEXT,
                count=STREAM_CHUNKS,
                clients=clients,
                seconds=seconds,
                key=self.place.key(),
            )
        return run_wrk(
            f"http://{HOST}:{self.place.port}{self.path}",
            self.body_file,
            len(scenario.answer),
            clients=clients,
            seconds=seconds,
            key=self.place.key(),
        )

    def as_json(self) -> list[dict[str, Any]]:
        """One entry per number of clients."""
        return [
            {
                "name": self.name,
                "clients": clients,
                "ceiling": self.ceiling,
                "unit": self.scenario.unit,
                "rates": [one.load.rate * self.scenario.per_request for one in samples],
                "p50_us": [one.load.p50_us for one in samples],
                "p99_us": [one.load.p99_us for one in samples],
                "cpu_us": [one.cpu_us for one in samples],
                "errors": sum(one.load.errors for one in samples),
            }
            for clients, samples in sorted(self.samples.items())
        ]


@contextlib.contextmanager
def targets_for(scenarios: Sequence[Scenario]) -> Iterator[list[Target]]:
    """Start everything that the scenarios need."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tsl-bench-load-")))
        models = {scenario.model.name: scenario.model for scenario in scenarios}
        server = stack.enter_context(serving(models.values()))
        print(f"front end: process {server.pid}", file=sys.stderr)
        bodies = {scenario.name: folder / scenario.name for scenario in scenarios}
        for scenario in scenarios:
            bodies[scenario.name].write_bytes(scenario.body)
            server.wait_for_answer(scenario.model.name, scenario.body)
        targets = [_tsl_target(server, scenario, bodies[scenario.name]) for scenario in scenarios]
        ceilings: dict[str, Target] = {}
        for scenario in scenarios:
            name = _ceiling_name(scenario)
            if name not in ceilings:
                place = stack.enter_context(_bare(scenario.ceiling, folder))
                ceilings[name] = Target(name, scenario, place, "/", bodies[scenario.name])
        yield [*targets, *ceilings.values()]


def _tsl_target(server: Server, scenario: Scenario, body_file: Path) -> Target:
    path = f"/predictions/{scenario.model.name}"
    return Target(scenario.name, scenario, server, path, body_file, _ceiling_name(scenario))


def _ceiling_name(scenario: Scenario) -> str:
    if scenario.ceiling is Ceiling.ECHO:  # its rate depends on the size
        return f"ceiling: echo of {scenario.name}"
    return f"ceiling: {scenario.ceiling.value}"


@contextlib.contextmanager
def _bare(ceiling: Ceiling, folder: Path) -> Iterator[Bare]:
    [port] = free_ports(1)
    argv = [sys.executable, "-m", "benchmarks.load.bare"]
    argv += ["--port", str(port), "--ceiling", ceiling.value]
    with running(argv, cwd=ROOT, errors=folder / "bare.stderr") as process:
        deadline = time.monotonic() + _LISTEN_S
        while process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=5)) as connection,
            ):
                connection.connect()
                break
            time.sleep(0.01)
        else:
            raise SystemExit((folder / "bare.stderr").read_text(encoding="utf-8"))
        yield Bare(port, process.pid)


def run(
    scenarios: Sequence[Scenario], clients: Sequence[int], *, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Measure.

    Args:
        scenarios: what.
        clients: numbers of clients.
        rounds: how often.
        seconds: for each measurement of each round.

    Returns:
        One entry per target and number of clients, as `Target.as_json` has it.
    """
    with targets_for(scenarios) as targets:
        for target in targets:
            target.check()
            target.measure(min(WARM_UP_CLIENTS, max(clients)), WARM_UP_S)
            target.samples.clear()
        for number in range(1, rounds + 1):
            for count in clients:
                for target in targets:
                    if count <= target.scenario.max_clients:
                        _note_progress(f"round {number}/{rounds}, {count} clients, {target.name}")
                        target.measure(count, seconds)
        _note_progress("")
        for target in targets:
            target.check()
        return [entry for target in targets for entry in target.as_json()]


def _note_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="" if text else "\n", file=sys.stderr, flush=True)


def main() -> int:
    """Run from the command line.

    Returns:
        1 when any answer was wrong, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.run", description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--clients", nargs="+", type=int, default=list(CLIENTS))
    parser.add_argument("--rounds", type=int, default=3, help="default 3; fewer prove nothing")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement, default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    check_installed()
    exit_on_sigterm()
    document = machine.describe()
    document["settings"] = {"rounds": options.rounds, "seconds": options.seconds}
    scenarios = [SCENARIOS[name] for name in options.scenarios]
    document["load"] = run(
        scenarios, options.clients, rounds=options.rounds, seconds=options.seconds
    )
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(load_table(document["load"]))
    return int(any(entry["errors"] for entry in document["load"]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
