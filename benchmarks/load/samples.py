"""What one measurement of load yields."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    requests: int
    rate: float
    p50_us: float
    p99_us: float
    errors: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One target with so many clients for a few seconds.

    Attributes:
        load: what the clients saw.
        cpu_us: processor time of the listening process per request, microseconds; workers are
            processes of their own and not in it.
    """

    load: Load
    cpu_us: float
