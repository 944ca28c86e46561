"""What does ``handler: {optimize: true}`` bring? ``python -m benchmarks.optimize``.

Calls the demo's classifier (EfficientNet-Lite0, real weights) as it was saved, as the demo folds it, and
as `optimize` leaves it, in turns, so that what disturbs the machine disturbs all of them. Needs
the packages of the extra ``demo``. The allocator is set as workers have it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tsl.cli.demo.sources import LITE0_WEIGHTS, locate
from tsl.frontend.child_process import MALLOC_DEFAULTS

from . import machine
from .processes import ROOT
from .report import measurements_table


def load_models(example: Any) -> dict[str, Any]:
    """The same network in each form."""
    import torch

    from tsl.backend.handlers.optimization import TracedModel, optimize

    sys.path.insert(0, str(ROOT / "cli" / "demo" / "imagenet"))
    network = importlib.import_module("efficientnet_lite").EfficientNetLite0
    (weights,) = locate(LITE0_WEIGHTS)
    state = torch.load(weights, weights_only=True)

    def build() -> Any:
        model = network()
        model.load_state_dict(state)
        return model.eval()

    folded = build()
    folded.fold_batch_norm()
    plain = build()
    optimized = optimize(build(), example, "cpu")
    if not isinstance(optimized, TracedModel):
        raise SystemExit("the model was not optimised; the log above says why")
    with torch.inference_mode():
        difference = (optimized(example) - plain(example)).abs().max().item()
    print(f"largest difference of a score: {difference:.2g}")
    return {"as saved": plain, "folded by the demo": folded, "optimised": optimized}


def measure(models: dict[str, Any], example: Any, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds for one call with so many rows."""
    import torch

    batch = example.repeat(rows, 1, 1, 1)
    values: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for number in range(rounds + 3):  # the first three are warm-up
            for name, model in models.items():
                started = time.perf_counter()
                model(batch)
                if number >= 3:
                    values[name].append((time.perf_counter() - started) * 1000)
    return [
        {"name": f"{name}, {rows} images", "unit": "ms", "values": each}
        for name, each in values.items()
    ]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimize", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="default 1 8")
    parser.add_argument("--rounds", type=int, default=15, help="default 15")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    if (
        not MALLOC_DEFAULTS.keys() <= os.environ.keys()
    ):  # read by the C library when a process begins
        arguments = [sys.executable, "-m", "benchmarks.optimize", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, **MALLOC_DEFAULTS})
    warnings.simplefilter("ignore", DeprecationWarning)  # torch says it of TorchScript
    import torch

    torch.set_num_threads(options.threads)
    document = machine.describe()
    example = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    models = load_models(example)
    document["measurements"] = [
        entry for rows in options.rows for entry in measure(models, example, rows, options.rounds)
    ]
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(measurements_table(document["measurements"]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
