"""What one measurement of load yields."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw.

    Attributes:
        requests: complete responses.
        rate: complete responses per second.
        p50_us: median time from request to complete response, microseconds.
        p99_us: 99th percentile of it.
        errors: responses with another status than 2xx, or not of the right size, and broken
            connections; with any of them the numbers mean nothing.
        extra: further figures by name, such as those of streams.
    """

    requests: int
    rate: float
    p50_us: float
    p99_us: float
    errors: int
    extra: dict[str, float] = field(default_factory=dict)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th.

    Args:
        values: two at least; a single one is both.
    """
    if len(values) < 2:
        return values[0], values[0]
    hundredths = statistics.quantiles(values, n=100, method="inclusive")
    return hundredths[49], hundredths[98]
