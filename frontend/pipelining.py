"""How many batches may be in flight to one worker; learned from service times.

With one frame in flight, worker and front end wait for each other's round trip after every
batch. With several, neither waits: for an echo handler that is a factor of three (measured by
``benchmarks/load``, see ``docs/decisions.md``). But a job that has been sent can no longer go to
another worker, so the depth is bounded by time: what is in flight must be worth no more than
`BUDGET_US` of service, and a model that has been slow even once must prove itself again.

A slower model, too, waits for the round trip: a tenth of its time and more, if its batches take some
milliseconds and the front end is busy with requests. One more batch may wait at its worker if it is
full (without batches each is), so that nothing could still join it, and if nobody else could take
it: up to `SLOW_US` that does not matter, up to `ALONE_US` when the worker is the only one.
"""

from __future__ import annotations

import math
from typing import Final

BUDGET_US: Final = 2_000
"""Service time that may be in flight to one worker, microseconds."""
SLOW_US: Final = 10_000
"""One batch slower than this, and the model is slow until proven quick."""
PROOF: Final = 32
"""Batches in a row that prove a model quick."""
ALONE_US: Final = 100_000
"""A lone worker has a full batch ahead unless its batches usually take longer, microseconds."""
MAX_DEPTH: Final = 64


class PipelineDepth:
    """Depth for the workers of one model version; 1 until the model is known to be quick.

    Args:
        limit: depth at most.
    """

    __slots__ = ("_limit", "_mean_us", "_proven", "_usual_us", "depth")

    def __init__(self, limit: int = MAX_DEPTH) -> None:
        self.depth = 1
        self._limit = limit
        self._proven = 0
        self._mean_us = 0.0  # of batches that were not slow
        self._usual_us = math.inf  # of all

    def has_spare(self, workers: int) -> bool:
        """Whether a full batch may wait at a busy worker, although the depth is 1.

        Args:
            workers: how many serve this model version.
        """
        if self._limit == 1:
            return False
        return self._proven >= PROOF or (workers == 1 and self._usual_us <= ALONE_US)

    def observe(self, service_us: int) -> None:
        """Account for one batch.

        Args:
            service_us: time inside the handler, microseconds.
        """
        usual = self._usual_us
        self._usual_us = service_us if usual == math.inf else usual + (service_us - usual) / 16
        if service_us > SLOW_US:
            self._proven = 0
            self.depth = 1
            return
        self._mean_us += (service_us - self._mean_us) / 16
        self._proven += 1
        if self._proven < PROOF or self._proven % 16:
            return
        self.depth = max(1, min(self._limit, int(BUDGET_US / max(self._mean_us, 1.0))))
