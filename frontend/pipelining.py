"""How many batches may be in flight to one worker; learned from service times.

With one frame in flight, worker and front end wait for each other's round trip after every
batch. With several, neither waits: for an echo handler that is a factor of three (measured by
``benchmarks/load``, see ``docs/decisions.md``). But a job that has been sent can no longer go to
another worker, so the depth is bounded by time: what is in flight must be worth no more than
`BUDGET_US` of service, and a model that has been slow even once must prove itself again.
"""

from __future__ import annotations

from typing import Final

BUDGET_US: Final = 2_000
"""Service time that may be in flight to one worker, microseconds."""
SLOW_US: Final = 10_000
"""One batch slower than this, and the model is slow until proven quick."""
PROOF: Final = 32
"""Batches in a row that prove a model quick."""
MAX_DEPTH: Final = 32


class PipelineDepth:
    """Depth for the workers of one model version; 1 until the model is known to be quick.

    Args:
        limit: depth at most.
    """

    __slots__ = ("_limit", "_mean_us", "_proven", "depth")

    def __init__(self, limit: int = MAX_DEPTH) -> None:
        self.depth = 1
        self._limit = limit
        self._proven = 0
        self._mean_us = 0.0

    def observe(self, service_us: int) -> None:
        """Account for one batch.

        Args:
            service_us: time inside the handler, microseconds.
        """
        if service_us > SLOW_US:
            self._proven = 0
            self.depth = 1
            return
        self._mean_us += (service_us - self._mean_us) / 16
        self._proven += 1
        if self._proven < PROOF or self._proven % 16:
            return
        self.depth = max(1, min(self._limit, int(BUDGET_US / max(self._mean_us, 1.0))))
