"""What of a start can no server be without? ``python -m benchmarks.start_floor``.

One process, and no server: an interpreter imports torch, loads the classifier of `start-classify` and
answers once. What that scenario measures beyond the sum is the server's. Needs the packages of the
extra ``demo``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from .archives import WORK, picture
from .peers.base import Service, Work, classifier_environ

STEPS: Final = ("interpreter", "import torch", "load the model", "first answer")
_PROGRAM: Final = """
import time
begun = time.time()
import gc
gc.disable()  # nothing of an import is garbage
import torch
imported = time.time()
gc.enable()
import json, sys
import work
model = work.function()
loaded = time.time()
model([open(sys.argv[1], "rb").read()])
print(json.dumps([begun, imported, loaded, time.time()]))
"""


def measure_once() -> dict[str, float]:
    """Start it and let it answer.

    Returns:
        Seconds of each of `STEPS`.

    Raises:
        subprocess.CalledProcessError: it has failed.
    """
    with tempfile.TemporaryDirectory(prefix="tsl-bench-") as name:
        folder = Path(name)
        (folder / "picture").write_bytes(picture())
        (folder / WORK.name).write_bytes(WORK.read_bytes())
        service = Service(work=Work.CLASSIFY)
        environ = {
            "PYTHONPATH": str(folder),
            **service.environ(),
            **classifier_environ(service, folder),
        }
        launched = time.time()
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(folder / "picture")],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=True,
        )
    moments = [launched, *json.loads(done.stdout)]
    between = (after - before for before, after in itertools.pairwise(moments))
    return dict(zip(STEPS, between, strict=True))


def main() -> None:
    """Measure some starts, and print the median of each step and of the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="starts (default 5)")
    rounds = [measure_once() for _ in range(parser.parse_args().rounds)]
    for step in STEPS:
        print(f"{step:<16} {statistics.median(each[step] for each in rounds):.2f} s")
    print(f"{'all':<16} {statistics.median(sum(each.values()) for each in rounds):.2f} s")


if __name__ == "__main__":
    main()
