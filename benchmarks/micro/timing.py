"""How the scripts of this folder measure: the least of many repeats.

The least, because whatever else runs on the machine only ever adds time. For a mean under load
there is ``benchmarks.load``.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping
from typing import Final

from ..report import table

REPEATS: Final = 15
REPEAT_S: Final = 0.02


def best_us(call: Callable[[], object]) -> float:
    """Time of one call in microseconds, without garbage collection.

    Args:
        call: what to time; the cost of calling it (some 0.03 µs) is included.
    """
    timer = timeit.Timer(call)
    number = 1
    while (elapsed := timer.timeit(number)) < REPEAT_S / 4:
        number *= 4
    number = max(1, round(number * REPEAT_S / elapsed))
    return min(timer.repeat(REPEATS, number)) / number * 1e6


def print_times(title: str, calls: Mapping[str, Callable[[], object]]) -> None:
    """Time each call, and print a table."""
    print(table([title, "µs"], [[name, f"{best_us(call):,.2f}"] for name, call in calls.items()]))
