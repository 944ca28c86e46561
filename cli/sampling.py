"""Two looks at a server, and what happened in between: rates and latencies per model version.

Counters come from the metrics page (``metrics_mode=prometheus``), everything else from describe.
Pure but for `look`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from .api_client import NoAnswer
from .connected import Connected, all_versions, default_version, model_names
from .status import ModelStatus, model_status

_DURATION: Final = "tsl_request_duration_seconds"
_QUEUE_TIME: Final = "tsl_queue_time_seconds"
_ERRORS: Final = "tsl_errors_total"
_IN_FLIGHT: Final = "tsl_in_flight"
_NO_VERSION: Final = "default"
"""How requests are counted whose path named no version."""
_FAMILIES: Final = frozenset({_DURATION, _QUEUE_TIME, "tsl_errors", _ERRORS, _IN_FLIGHT})

Values = Mapping[tuple[str, str, str], Mapping[str, float]]
"""(sample, model, version) → upper bound, "" without one → value."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a server says at a moment.

    Attributes:
        at: the moment, in seconds of a monotonic clock.
        models: how each version is.
        memory_bytes: of its workers, by model and version.
        values: counters; empty when the metrics page has none.
        defaults: the default version of each model.
    """

    at: float
    models: tuple[ModelStatus, ...]
    memory_bytes: Mapping[tuple[str, str], int]
    values: Values
    defaults: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version between two looks; None for what is not known.

    Attributes:
        status: how it is.
        in_flight: requests that its workers have.
        requests_per_s: successful answers.
        errors_per_s: requests that ended in another way.
        p50_ms: latency that half of the answers did not exceed, estimated within a bucket.
        p99_ms: the same for 99 of 100.
        queue_ms: mean time in the queue.
        memory_bytes: of all its workers.
    """

    status: ModelStatus
    in_flight: float | None
    requests_per_s: float | None
    errors_per_s: float | None
    p50_ms: float | None
    p99_ms: float | None
    queue_ms: float | None
    memory_bytes: int


def look(server: Connected) -> Look:
    """Ask a server.

    Raises:
        CommandFailed, NoAnswer: the management API does not tell.
    """
    by_name = {
        name: all_versions(server.management, name) for name in model_names(server.management)
    }
    described = list(chain.from_iterable(by_name.values()))
    return Look(
        time.monotonic(),
        tuple(map(model_status, described)),
        {(each["modelName"], each["modelVersion"]): _memory(each) for each in described},
        _page(server),
        {
            name: default_version(server.management, name, versions)
            for name, versions in by_name.items()
            if versions
        },
    )


def _memory(described: Mapping[str, Any]) -> int:
    return sum(worker.get("memoryUsage") or 0 for worker in described.get("workers") or [])


def _page(server: Connected) -> Values:
    if server.metrics is None:
        return {}
    try:
        status, text = server.metrics.text("/metrics")
    except NoAnswer:
        return {}  # the models are of use without it
    return read_page(text) if status == 200 else {}


def read_page(text: str) -> Values:
    """The counters of a metrics page, by sample, model and version."""
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name not in _FAMILIES:
            continue
        for sample in family.samples:
            labels = sample.labels
            key = (sample.name, labels.get("model_name", ""), labels.get("model_version", ""))
            bounds = values.setdefault(key, {})
            bound = labels.get("le", "")
            bounds[bound] = bounds.get(bound, 0.0) + sample.value  # of all kinds of errors
    return values


def rows(before: Look, now: Look) -> list[Row]:
    """What happened to each version between two looks."""
    elapsed_s = now.at - before.at
    return [_row(status, before, now, elapsed_s) for status in now.models]


def _row(status: ModelStatus, before: Look, now: Look, elapsed_s: float) -> Row:
    versions = [status.version]
    if now.defaults.get(status.name) == status.version:
        versions.append(_NO_VERSION)

    def delta(name: str) -> dict[str, float]:
        """Growth since the look before, by upper bound. A counter that fell began anew."""
        grown: dict[str, float] = {}
        for version in versions:
            key = (name, status.name, version)
            old = before.values.get(key, {})
            for bound, value in now.values.get(key, {}).items():
                known = old.get(bound, 0.0)
                more = value - known if value >= known else value
                grown[bound] = grown.get(bound, 0.0) + more
        return grown

    has_page = bool(now.values)
    queued = delta(f"{_QUEUE_TIME}_count").get("", 0.0)
    waited_s = delta(f"{_QUEUE_TIME}_sum").get("", 0.0)
    buckets = delta(f"{_DURATION}_bucket")
    in_flight = now.values.get((_IN_FLIGHT, status.name, status.version), {}).get("")
    return Row(
        status=status,
        in_flight=in_flight,
        requests_per_s=delta(f"{_DURATION}_count").get("", 0.0) / elapsed_s if has_page else None,
        errors_per_s=sum(delta(_ERRORS).values()) / elapsed_s if has_page else None,
        p50_ms=quantile_ms(buckets, 0.5),
        p99_ms=quantile_ms(buckets, 0.99),
        queue_ms=waited_s / queued * 1000 if queued else None,
        memory_bytes=now.memory_bytes.get((status.name, status.version), 0),
    )


def quantile_ms(buckets: Mapping[str, float], share: float) -> float | None:
    """A quantile of a histogram, linear within its bucket as Prometheus estimates it.

    Args:
        buckets: cumulative counts by upper bound in seconds.
        share: between 0 and 1.

    Returns:
        Milliseconds; the largest finite bound for what lies above it; None without observations.
    """
    ordered = sorted((float(bound), count) for bound, count in buckets.items())
    total = ordered[-1][1] if ordered else 0.0
    if total <= 0:
        return None
    wanted = total * share
    lower, below = 0.0, 0.0
    for bound, count in ordered:
        if count >= wanted:
            if math.isinf(bound):
                return lower * 1000
            return (lower + (bound - lower) * (wanted - below) / (count - below)) * 1000
        lower, below = bound, count
    return lower * 1000
