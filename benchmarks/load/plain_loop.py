"""The classifier in a plain loop: ``python -m benchmarks.load.plain_loop PICTURE``.

For each line on stdin, which says for how many seconds, one line of JSON with what a `Load` has.
The limit of what any server can do with this model and one worker.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from .. import work
from .samples import Load, percentiles


def call_for(
    seconds: float, model: Callable[[Sequence[bytes]], list[bytes]], batch: list[bytes]
) -> Load:
    """Call the model over and over."""
    model(batch)
    durations = []
    start = time.perf_counter()
    while (begun := time.perf_counter()) - start < seconds:
        model(batch)
        durations.append(time.perf_counter() - begun)
    elapsed = time.perf_counter() - start
    p50, p99 = percentiles(durations)
    count = len(durations) * len(batch)
    return Load(count, count / elapsed, p50 * 1e6, p99 * 1e6, 0)


def main() -> None:
    """Answer lines."""
    batch = [Path(sys.argv[1]).read_bytes()] * work.setting("batch")
    model = work.function()
    for line in sys.stdin:
        print(json.dumps(asdict(call_for(float(line), model, batch))), flush=True)


if __name__ == "__main__":
    main()
