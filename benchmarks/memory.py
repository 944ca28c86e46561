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
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from tsl.backend.worker import IDLE_S
from tsl.cli.demo import build_demo

from . import machine
from .processes import exit_on_sigterm
from .report import measurements_table
from .server import Server, serving

NAME: Final = "imagenet"
_CONFIG: Final = "model-config.yaml"
_SETTLE_S: Final = 60.0
_MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class DemoClassifier:
    """The demo's archive with other settings.

    Attributes:
        workers: at start.
        shares: whether the workers share the weights.
        batch_size: images that share a forward pass at most.
    """

    workers: int
    shares: bool
    batch_size: int

    def write_archive(self, folder: Path) -> None:
        """Write ``imagenet.mar``."""
        with tempfile.TemporaryDirectory() as name:
            demo = build_demo(Path(name), lambda line: None)
            source = demo.model_store / f"{NAME}.mar"
            with zipfile.ZipFile(source) as old, zipfile.ZipFile(folder / source.name, "w") as new:
                for member in old.namelist():
                    content = old.read(member)
                    if member == _CONFIG:
                        settings = {**yaml.safe_load(content), **self._settings()}
                        content = yaml.safe_dump(settings).encode()
                    new.writestr(member, content)

    def _settings(self) -> dict[str, Any]:
        return {
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "shareModel": self.shares,
            "batchSize": self.batch_size,
        }


def picture() -> bytes:
    """The picture of the demo."""
    with tempfile.TemporaryDirectory() as name:
        return build_demo(Path(name), lambda line: None).image.read_bytes()


def worker_pids(server: Server, count: int) -> list[int]:
    """The workers' process ids, as soon as so many are ready.

    Raises:
        SystemExit: they are not, within a minute.
    """
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        (description,) = server.manage("GET", f"/models/{NAME}")
        ready = [each for each in description["workers"] if each["status"] == "READY"]
        if len(ready) == count:
            return [int(each["pid"]) for each in ready]
        time.sleep(0.05)
    raise SystemExit(f"{count} workers are not ready within {_SETTLE_S:.0f} s")


def make_all_work(server: Server, pids: list[int], image: bytes, rounds: int) -> None:
    """Let every worker predict.

    Raises:
        SystemExit: an answer is wrong, or some worker has done nothing.
    """
    before = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids}
    with ThreadPoolExecutor(2 * len(pids)) as pool:
        answers = list(
            pool.map(lambda _: server.predict(NAME, image), range(rounds * 2 * len(pids)))
        )
    wrong = [answer for answer in answers if answer.status != 200]
    if wrong:
        raise SystemExit(f"wrong answer: {wrong[0]}")
    idle = [pid for pid in pids if sum(psutil.Process(pid).cpu_times()[:2]) == before[pid]]
    if idle:
        raise SystemExit(f"workers {idle} have done nothing; more --rounds help")


def uss(pid: int) -> float:
    """What a process owns, in MB."""
    return float(psutil.Process(pid).memory_full_info().uss) / _MB


def family(server: Server) -> dict[str, int]:
    """Process ids of the fork server and of the process that holds the model, by name."""
    found = {}
    for process in psutil.Process(server.pid).children(recursive=True):
        title = process.cmdline()[0]
        for name in ("tsl-nursery", "tsl-template"):
            if title.startswith(name):
                found[name] = process.pid
    return found


def measure(server: Server, workers: int, image: bytes, rounds: int) -> list[dict[str, Any]]:
    """Memory of every process."""
    pids = worker_pids(server, workers)
    fresh = [uss(pid) for pid in pids]
    make_all_work(server, pids, image, rounds)
    worked = [uss(pid) for pid in pids]
    time.sleep(IDLE_S + 1)
    rested = [uss(pid) for pid in pids]
    rows = [
        ("front end", [uss(server.pid)]),
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
    model = DemoClassifier(options.workers, not options.own_weights, options.batch_size)
    with serving([model]) as server:
        server.wait_for_answer(NAME, image)
        document["measurements"] = measure(server, options.workers, image, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(measurements_table(document["measurements"]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
