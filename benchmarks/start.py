"""How long until a model answers, and how long until it has another worker?

``python -m benchmarks.start``. Each run starts a server of its own; the clock begins when the
process is launched and ends with the first right answer. Then a second and a third worker are
asked for, and the clock runs until the management API says that they are ready. The handler with
torch pays for its import, unless it has been imported before the worker was made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from . import machine
from .processes import exit_on_sigterm
from .report import measurements_table
from .server import Model, serving

BODY: Final = b"hello world"
MAX_WORKERS: Final = 3
HANDLERS: Final = {"echo": "echo.py", "torch": "torch_echo.py"}


def measure_once(model: Model) -> dict[str, float]:
    """Start, scale up twice, stop.

    Returns:
        Milliseconds by what they were spent on.
    """
    times = {}
    with serving([model]) as server:
        server.wait_for_answer(model.name, BODY)
        times["start to first prediction"] = time.perf_counter() - server.started_at
        if server.predict(model.name, BODY).body != BODY:
            raise SystemExit(f"{model.name}: wrong answer")
        for number in range(2, MAX_WORKERS + 1):
            begun = time.perf_counter()
            server.manage("PUT", f"/models/{model.name}?min_worker={number}&synchronous=true")
            times[f"worker {number} added"] = time.perf_counter() - begun
    return {name: seconds * 1000 for name, seconds in times.items()}


def measure(models: list[Model], runs: int) -> list[dict[str, Any]]:
    """Measure each model so often, by turns."""
    values: dict[str, list[float]] = {}
    for _ in range(runs):
        for model in models:
            for name, milliseconds in measure_once(model).items():
                values.setdefault(f"{model.name}: {name}", []).append(milliseconds)
    return [{"name": name, "unit": "ms", "values": values[name]} for name in sorted(values)]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--handlers", nargs="+", choices=HANDLERS, default=list(HANDLERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    exit_on_sigterm()
    models = [Model(name, HANDLERS[name], {"maxWorkers": MAX_WORKERS}) for name in options.handlers]
    document = machine.describe()
    document["measurements"] = measure(models, options.runs)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(measurements_table(document["measurements"]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
