"""Measure servers side by side: all run, one at a time is awake.

Every round visits each point of each server once, so whatever else the machine does meets all of
them alike. The servers that are not measured are stopped (SIGSTOP) meanwhile: several of them
take processor time even when nobody asks.
"""

from __future__ import annotations

import contextlib
import http.client
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .load.samples import Load
from .peers.base import Peer, Running, Work
from .peers.ceiling import Bare, PlainLoop
from .results import Row
from .scenarios.base import Steady

WARM_UP_S = 1.0
BROKEN = (OSError, SystemExit, TimeoutError, ValueError, http.client.HTTPException)


class Target(Protocol):
    """Something that can be measured."""

    name: str

    def check(self, at: float) -> None:
        """Raises SystemExit when an answer is wrong."""

    def measure(self, at: float, seconds: float) -> tuple[dict[str, float], int]:
        """Metrics, and errors."""

    def pause(self) -> None:
        """Take no processor time."""

    def resume(self) -> None:
        """Go on."""


@dataclass(slots=True)
class ServerTarget:
    """A server under a scenario.

    Attributes:
        running: the server.
        scenario: the traffic.
        folder: for files.
        name: of the peer.
    """

    running: Running
    scenario: Steady
    folder: Path
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.running.peer

    def check(self, at: float) -> None:
        """Ask once."""
        body = self.scenario.body(at)
        answer = self.scenario.ask(self.running, body)
        # The ceiling knows nothing of protocols: it gives back what it gets.
        right = self.name == Bare.name and answer.body == body
        if answer.status != 200 or not (right or self.scenario.right(answer.body, at)):
            raise SystemExit(f"{self.name}: wrong answer, {answer.status} {answer.body[:200]!r}")

    def measure(self, at: float, seconds: float) -> tuple[dict[str, float], int]:
        """Load it, and look at the answer before and after."""
        self.check(at)
        before_s = self.running.tree.cpu_seconds()
        load = self.scenario.drive(self.running, self.scenario, at, seconds, self.folder)
        cpu_s = self.running.tree.cpu_seconds() - before_s
        self.check(at)
        metrics = figures(load)
        metrics["cpu_us"] = cpu_s / max(load.requests, 1) * 1e6
        metrics["pss_mb"] = self.running.tree.memory_mb()["pss"]
        if self.scenario.axis == "bytes":
            metrics["mb_s"] = load.rate * at / 1e6
        return metrics, load.errors

    def pause(self) -> None:
        """Stop the whole tree."""
        self.running.tree.pause()

    def resume(self) -> None:
        """Let the whole tree go on."""
        self.running.tree.resume()


def figures(load: Load) -> dict[str, float]:
    """What a measurement says, by metric."""
    return {
        "rate": load.rate,
        "p50_us": load.p50_us,
        "p99_us": load.p99_us,
        **load.extra,
    }


@dataclass(slots=True)
class LoopTarget:
    """The plain loop; it sleeps between lines by itself.

    Attributes:
        loop: it.
        name: of the row.
    """

    loop: PlainLoop
    name: str = PlainLoop.name

    def check(self, at: float) -> None:
        """Nothing is asked of it."""

    def measure(self, at: float, seconds: float) -> tuple[dict[str, float], int]:
        """The points are all the same to it."""
        del at
        load = self.loop.measure(seconds)
        return figures(load), load.errors

    def pause(self) -> None:
        """It waits for a line."""

    def resume(self) -> None:
        """It waits for a line."""


@contextlib.contextmanager
def targets(
    scenario: Steady, peers: Sequence[Peer], failed: dict[str, str]
) -> Iterator[list[Target]]:
    """Start all that can take part one by one, check them, and pause them.

    Args:
        scenario: what they serve.
        peers: who.
        failed: gets what those say that do not come up.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tsl-bench-")))
        awake: list[Target] = []
        # One after the other: ten that start at once take minutes, and some give up waiting for
        # processes of their own.
        for peer in peers:
            own = folder / peer.name
            own.mkdir()
            running = stack.enter_context(peer.start(scenario.service, own))
            target = ServerTarget(running, scenario, own)
            try:
                running.wait_for_answer(
                    scenario.body(scenario.points[0]), scenario.headers, method=scenario.method
                )
                target.check(scenario.points[0])
            except BROKEN as error:
                failed[running.peer] = str(error)
                note(f"{running.peer}: {error}\n")
            else:
                target.pause()
                awake.append(target)
        if scenario.service.work is Work.CLASSIFY:
            (folder / "loop").mkdir()
            loop = PlainLoop(scenario.service, folder / "loop", scenario.body(0))
            stack.callback(loop.close)
            awake.append(LoopTarget(loop))
        yield awake


def measure(
    scenario: Steady,
    peers: Sequence[Peer],
    points: Sequence[float],
    *,
    rounds: int,
    seconds: float,
) -> tuple[list[Row], dict[str, str]]:
    """All peers at all points, by turns.

    Args:
        scenario: what.
        peers: who; those that cannot serve it are left out.
        points: where.
        rounds: how often.
        seconds: for each measurement.

    Returns:
        A row for each peer and point, and what those said that failed.
    """
    seconds = max(seconds, scenario.least_seconds)
    failed: dict[str, str] = {}
    able = [peer for peer in peers if peer.serves(scenario.service)]
    with targets(scenario, able, failed) as found:
        rows = {(each.name, at): Row(each.name, at) for at in points for each in found}
        for target in list(found):
            with _awake(target, found, failed):
                target.measure(points[0], max(WARM_UP_S, scenario.least_seconds))
        for number in range(1, rounds + 1):
            for at in points:
                for target in list(found):
                    note(f"\r{scenario.name}: round {number}/{rounds}, {at:g} {scenario.axis}, ")
                    note(f"{target.name:<20}")
                    with _awake(target, found, failed):
                        rows[target.name, at].add(*target.measure(at, seconds))
        note("\n")
    return [row for row in rows.values() if row.values], failed


@contextlib.contextmanager
def _awake(target: Target, found: list[Target], failed: dict[str, str]) -> Iterator[None]:
    """Let one go on; one that breaks is measured no more, and the others are."""
    target.resume()
    try:
        yield
    except BROKEN as error:
        failed[target.name] = str(error)
        note(f"\n{target.name}: {error}\n")
        found.remove(target)
    finally:
        target.pause()


def note(text: str) -> None:
    """Tell people how far it is."""
    if sys.stderr.isatty() or text.endswith("\n"):
        print(text, end="", file=sys.stderr, flush=True)
