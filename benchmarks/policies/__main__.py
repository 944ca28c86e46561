"""Does ``batchPolicy: learned`` choose as well as somebody who knew? ``python -m benchmarks.policies``.

Each line is a simulated server: a model, a load, and the best of all fixed settings for just these two.
For clients that wait for their answers it is the requests per second that are compared, for loads
that come by themselves the mean latency. Nothing is measured, so the machine does not matter.
"""

from __future__ import annotations

import argparse
import json
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from .scenarios import FIXED, LEARNED, LOADS, MODELS
from .simulation import Closed, Outcome, Setting, Simulation


def compare(model: str, load: str, workers: int, seconds: float, times: int) -> dict[str, Any]:
    """Simulate one model and load under all settings, so many times with other chances."""

    def run(setting: Setting) -> Outcome:
        total = Outcome()
        for seed in range(1, times + 1):
            simulation = Simulation(setting, LOADS[load], MODELS[model], workers, seed=seed)
            outcome = simulation.run(seconds, warm_up_s=6.0)
            total.answered += outcome.answered
            total.rate += outcome.rate / times
            total.latencies += outcome.latencies
        return total

    learned = run(LEARNED)
    fixed = {setting.name: run(setting) for setting in FIXED}
    alone = fixed["batch 1"]
    if isinstance(LOADS[load], Closed):
        best = max(fixed, key=lambda name: fixed[name].rate)
        of_best, of_one = learned.rate / fixed[best].rate, learned.rate / alone.rate
    else:
        most = max(outcome.answered for outcome in fixed.values())
        stable = [name for name in fixed if fixed[name].answered >= 0.98 * most]
        best = min(stable, key=lambda name: fixed[name].mean_s)
        of_best = fixed[best].mean_s / learned.mean_s
        of_one = alone.mean_s / learned.mean_s
    return {
        "model": model,
        "load": load,
        "workers": workers,
        "requests_per_s": learned.rate,
        "mean_ms": learned.mean_s * 1000,
        "p99_ms": learned.quantile_s(0.99) * 1000,
        "best_fixed": best,
        "of_best": of_best,
        "of_batch_1": of_one,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, metavar="NAME")
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS, metavar="NAME")
    parser.add_argument("--workers", type=int, default=1, help="default 1")
    parser.add_argument("--seconds", type=float, default=6.0, help="simulated; default 6")
    parser.add_argument("--times", type=int, default=3, help="with other chances; default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    jobs = [
        (model, load, options.workers, options.seconds, options.times)
        for model in options.models
        for load in options.loads
    ]
    rows = []
    print(
        "| model | load | requests/s | mean ms | p99 ms | best fixed setting | of it | of batch 1 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with Pool() as pool:
        for row in pool.starmap(compare, jobs, chunksize=1):
            rows.append(row)
            print(
                f"| {row['model']} | {row['load']} | {row['requests_per_s']:.1f}"
                f" | {row['mean_ms']:.1f} | {row['p99_ms']:.1f} | {row['best_fixed']}"
                f" | {row['of_best']:.2f} | {row['of_batch_1']:.2f} |",
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
