"""What does one worker more cost? ``python -m benchmarks.memory``.

Serves the demo's classifier (EfficientNet-Lite0, 18 MB of weights) with more and more workers and lets
all of them predict at the same time. Reported is what each process owns (USS: what would be free
without it), when it begins, when it has worked, and after a rest. The demo shares its weights between workers; ``--own-weights``
shows what that saves. Needs the packages of the extra ``demo``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import psutil

from tsl.backend.worker import IDLE_S

from . import machine
from .archives import picture
from .peers.base import Running, Service, Work
from .peers.demo import Demo
from .peers.torchserve import MODEL
from .processes import exit_on_sigterm
from .report import measurements_table

_SETTLE_S: Final = 60.0
_MB: Final = 1e6


def worker_pids(server: Running, count: int) -> list[int]:
    """The workers' process ids, as soon as so many are ready.

    Raises:
        SystemExit: they are not, within a minute.
    """
    manage = server.launch.manage
    assert manage is not None
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        (description,) = manage("GET", f"/models/{MODEL}")
        ready = [each for each in description["workers"] if each["status"] == "READY"]
        if len(ready) == count:
            return [int(each["pid"]) for each in ready]
        time.sleep(0.05)
    raise SystemExit(f"{count} workers are not ready within {_SETTLE_S:.0f} s")


def make_all_work(server: Running, pids: list[int], image: bytes, rounds: int) -> None:
    """Let every worker predict.

    Raises:
        SystemExit: an answer is wrong, or some worker has done nothing.
    """
    before = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids}
    with ThreadPoolExecutor(2 * len(pids)) as pool:
        answers = list(pool.map(lambda _: server.ask(image), range(rounds * 2 * len(pids))))
    wrong = [answer for answer in answers if answer.status != 200]
    if wrong:
        raise SystemExit(f"wrong answer: {wrong[0]}")
    idle = [pid for pid in pids if sum(psutil.Process(pid).cpu_times()[:2]) == before[pid]]
    if idle:
        raise SystemExit(f"workers {idle} have done nothing; more --rounds help")


def uss(pid: int) -> float:
    """What a process owns, in MB."""
    return float(psutil.Process(pid).memory_full_info().uss) / _MB


def family(server: Running) -> dict[str, int]:
    """Process ids of the fork server and of the process that holds the model, by name."""
    found = {}
    for process in psutil.Process(server.process.pid).children(recursive=True):
        title = process.cmdline()[0]
        for name in ("tsl-nursery", "tsl-template"):
            if title.startswith(name):
                found[name] = process.pid
    return found


def measure(server: Running, workers: int, image: bytes, rounds: int) -> list[dict[str, Any]]:
    """Memory of every process."""
    pids = worker_pids(server, workers)
    fresh = [uss(pid) for pid in pids]
    make_all_work(server, pids, image, rounds)
    worked = [uss(pid) for pid in pids]
    time.sleep(IDLE_S + 1)
    rested = [uss(pid) for pid in pids]
    rows = [
        ("front end", [uss(server.process.pid)]),
        *((name, [uss(pid)]) for name, pid in family(server).items()),
        ("worker, before its first request", fresh),
        ("worker, after it has worked", worked),
        (f"{workers} workers together", [sum(worked)]),
        (f"worker, after {IDLE_S:.0f} s without work", rested),
        (f"{workers} workers together", [sum(rested)]),
    ]
    return [{"name": name, "unit": "MB", "values": values} for name, values in rows]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--workers", type=int, default=8, help="default 8")
    parser.add_argument("--batch-size", type=int, default=1, help="default 1")
    parser.add_argument("--rounds", type=int, default=5, help="requests per worker and half")
    parser.add_argument("--own-weights", action="store_true", help="each worker loads the model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    exit_on_sigterm()
    image = picture()
    document = machine.describe()
    peer = Demo(shares=not options.own_weights)
    service = Service(
        work=Work.CLASSIFY, workers=options.workers, batch_size=options.batch_size, delay_ms=5
    )
    with (
        tempfile.TemporaryDirectory(prefix="tsl-bench-") as name,
        peer.start(service, Path(name)) as server,
    ):
        server.wait_for_answer(image)
        document["measurements"] = measure(server, options.workers, image, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(measurements_table(document["measurements"]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
