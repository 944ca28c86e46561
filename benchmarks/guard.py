"""Has a request become dearer? ``python -m benchmarks.guard`` fails when it has.

Times say little on a machine that is shared, so instructions are counted, by ``valgrind``: the count
hardly depends on what else the machine does. What a request costs the front end
(`micro.front_end`: no sockets, no worker) is compared with a yardstick, a bare httptools parser that is
fed the same request and joins an answer. So the ratio depends little on how Python was built.

Each kind of work is counted twice, with few rounds and with more; what the interpreter does at its
start and end is in both, and goes.

After a change that is worth its price, write the new ratios into `BUDGETS`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httptools

from .micro import front_end
from .processes import ROOT
from .report import table

BUDGETS: Final = {"echo, batch 1": 15.2, "echo, batch 32": 8.3, "tensors, batch 32": 12.3}
"""Cost of a request in yardsticks, as it was when this was last written."""
TOLERANCE: Final = 1.1
FEW, MORE = 10, 60
"""Rounds; each is a request of every client."""

_YARDSTICK: Final = "yardstick"
_ANSWER: Final = b"x" * 300
_TOTAL: Final = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


class _Bare:
    """The least that can be done about a request."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._headers: list[bytes] = []
        self._body = b""
        self.answer = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep it."""
        self._headers += (name, value)

    def on_body(self, data: bytes) -> None:
        """Keep it."""
        self._body = data

    def on_message_complete(self) -> None:
        """Answer."""
        self.answer = b"".join((_ANSWER, self._body))
        self._headers = []

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)


def work(kind: str, rounds: int) -> None:
    """Do what is to be counted."""
    gc.collect()
    gc.freeze()
    gc.disable()
    if kind == _YARDSTICK:
        connections = [_Bare() for _ in range(front_end.CLIENTS)]
        for _ in range(rounds):
            for connection in connections:
                connection.data_received(front_end.WRK)
    else:
        traffic, _, batch_size = kind.rpartition(", batch ")
        asyncio.run(front_end.measure(traffic, int(batch_size), rounds))


class CannotCount(Exception):
    """The work can be done here, but not under valgrind."""


def count(kind: str, rounds: int, folder: Path) -> int:
    """Instructions of a process that does this work.

    Raises:
        CannotCount: valgrind does not get along with this machine.
        SystemExit: the work itself fails.
    """
    out = folder / f"{kind}-{rounds}"
    plain = [sys.executable, "-m", "benchmarks.guard", "--work", kind, "--rounds", str(rounds)]
    command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", *plain]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    found = _TOTAL.search(out.read_text(encoding="utf-8")) if out.exists() else None
    if done.returncode or found is None:
        if subprocess.run(plain, cwd=ROOT, env=environ, check=False).returncode:
            raise SystemExit(f"{' '.join(plain)} fails")
        raise CannotCount(done.stderr[-2000:])
    return int(found[1])


def ratios(counts: dict[tuple[str, int], int]) -> dict[str, float]:
    """Cost of a request in yardsticks.

    Args:
        counts: instructions by kind of work and rounds.
    """
    cost = {kind: counts[kind, MORE] - counts[kind, FEW] for kind in (_YARDSTICK, *BUDGETS)}
    return {kind: cost[kind] / cost[_YARDSTICK] for kind in BUDGETS}


def excess(found: dict[str, float]) -> dict[str, float]:
    """The ratios that are above their budget by more than the tolerance."""
    return {kind: ratio for kind, ratio in found.items() if ratio > BUDGETS[kind] * TOLERANCE}


def main() -> int:
    """Count; the exit code says whether a request has become dearer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.rounds)
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: instructions are not counted")
        return 0
    runs = [(kind, rounds) for kind in (_YARDSTICK, *BUDGETS) for rounds in (FEW, MORE)]
    with (
        tempfile.TemporaryDirectory(prefix="tsl-guard-") as folder,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        totals = pool.map(lambda run: count(run[0], run[1], Path(folder)), runs)
        try:
            counts = dict(zip(runs, totals, strict=True))
        except CannotCount as error:
            print(f"valgrind cannot run this here, instructions are not counted:\n{error}")
            return 0
    found = ratios(counts)
    over = excess(found)
    rows = [
        [kind, f"{ratio:.2f}", f"{BUDGETS[kind]}", "too dear" if kind in over else "fine"]
        for kind, ratio in found.items()
    ]
    print(table(["a request", "in yardsticks", "budget", "verdict"], rows))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
