"""What the simulated servers have to do: service times, loads, and the settings that compete."""

from __future__ import annotations

import math
import random
from typing import Final

from tsl.frontend.batching import BatchPolicy

from .simulation import Bursts, Closed, Load, Poisson, Service, Setting

MS: Final = 0.001


def line(fixed_ms: float, per_job_ms: float, noise: float = 0.02) -> Service:
    """A fixed cost and one per job."""

    def seconds(size: int, now: float, chance: random.Random) -> float:
        del now
        return (fixed_ms + per_job_ms * size) * MS * chance.uniform(1 - noise, 1 + noise)

    return seconds


def steps(ms: float, width: int) -> Service:
    """Batches that are padded to multiples of ``width``."""

    def seconds(size: int, now: float, chance: random.Random) -> float:
        del now
        return ms * math.ceil(size / width) * MS * chance.uniform(0.98, 1.02)

    return seconds


def knee(fixed_ms: float, per_job_ms: float, at: int, steeper: float) -> Service:
    """From a size on, each further job costs so many times more: the cache is full."""

    def seconds(size: int, now: float, chance: random.Random) -> float:
        del now
        jobs = size + max(size - at, 0) * (steeper - 1)
        return (fixed_ms + per_job_ms * jobs) * MS * chance.uniform(0.98, 1.02)

    return seconds


def noisy(fixed_ms: float, per_job_ms: float) -> Service:
    """Times vary by a third, and one batch in thirty is held up for three times as long."""
    even = line(fixed_ms, per_job_ms, 0.0)

    def seconds(size: int, now: float, chance: random.Random) -> float:
        stall = 3.0 if chance.random() < 1 / 30 else 1.0
        return even(size, now, chance) * chance.lognormvariate(0, 0.3) * stall

    return seconds


def drifting(before: Service, after: Service, at_s: float) -> Service:
    """Another model from some moment on."""

    def seconds(size: int, now: float, chance: random.Random) -> float:
        return (before if now < at_s else after)(size, now, chance)

    return seconds


MODELS: Final[dict[str, Service]] = {
    "sublinear 9+1n": line(9, 1),
    "fixed cost 20+0.1n": line(20, 0.1),
    "linear 10n": line(0, 10),
    "half and half 5+5n": line(5, 5),
    "steps of 8, 10 ms": steps(10, 8),
    "knee at 8, 4+2n": knee(4, 2, 8, 3),
    "noisy 9+1n": noisy(9, 1),
    "drifting 0+10n to 9+1n": drifting(line(0, 10), line(9, 1), 5.0),
    "quick 0.3+0.02n": line(0.3, 0.02),
}
LOADS: Final[dict[str, Load]] = {
    "1 client": Closed(1),
    "2 clients": Closed(2),
    "8 clients": Closed(8),
    "16 clients": Closed(16),
    "48 clients": Closed(48),
    "8 slow clients": Closed(8, 0.005),
    "16 clients, then 1": Closed(16, until_s=6.0, stay=1),
    "16 clients, then 4": Closed(16, until_s=6.0, stay=4),
    "Poisson 20/s": Poisson(20),
    "Poisson 90/s": Poisson(90),
    "Poisson 300/s": Poisson(300),
    "bursts of 12": Bursts(12, 0.25),
}
BATCH_SIZE: Final = 32
LEARNED: Final = Setting("learned", BatchPolicy.LEARNED, BATCH_SIZE, 0.1)
FIXED: Final = (
    Setting("batch 1", BatchPolicy.EAGER, 1),
    *(Setting(f"eager {n}", BatchPolicy.EAGER, n) for n in (2, 4, 8, 16, 32)),
    *(
        Setting(f"window {n}, {ms} ms", BatchPolicy.WINDOW, n, ms * MS)
        for n in (2, 4, 8, 16, 32)
        for ms in (1, 5, 100)
    ),
)
