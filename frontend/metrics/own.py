"""What tsl measures beyond TorchServe's metrics; only for Prometheus, names begin with ``tsl_``.

TorchServe's latencies are sums without a count and gauges that know the last value only. These
are histograms. The state of queues and workers is not counted along the way: it is looked at
when somebody scrapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import Metric

from ..registry import ModelRegistry
from .definitions import Definition, Kind
from .families import Family

if TYPE_CHECKING:
    from ..registry import ServedModel

SECONDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
)  # fmt: skip
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_MODEL: Final = ("model_name", "model_version")


def _family(
    name: str,
    kind: Kind,
    text: str,
    labels: tuple[str, ...] = _MODEL,
    bounds: tuple[float, ...] = SECONDS,
) -> Family:
    return Family(Definition(name, kind, "", labels), text, bounds)


class OwnMetrics:
    """Counted along the way of requests."""

    def __init__(self) -> None:
        histogram: Kind = "histogram"
        self.duration = _family(
            "tsl_request_duration_seconds",
            histogram,
            "Arrival of a request to the end of its answer; successful ones, streams included.",
        )
        self.first_chunk = _family(
            "tsl_first_chunk_seconds",
            histogram,
            "Arrival of a request to the first piece of its streamed answer.",
        )
        self.queue_time = _family(
            "tsl_queue_time_seconds", histogram, "Arrival of a request to its batch being sent."
        )
        self.handler_time = _family(
            "tsl_handler_time_seconds", histogram, "Time of one batch in the handler."
        )
        self.batch_size = _family(
            "tsl_batch_size", histogram, "Rows of a batch that was answered.", bounds=ROWS
        )
        self.errors = _family(
            "tsl_errors_total",
            "counter",
            "Requests to a model that ended without an answer, by the kind of error.",
            (*_MODEL, "error"),
        )
        self.responses = [0] * 600
        """Responses by status."""
        self.refused_callers: Counter[tuple[str, str]] = Counter()
        """Callers without the right key, by that key and the reason."""

    def collect(self) -> Iterator[Metric]:
        """The present values."""
        for family in (
            self.duration,
            self.first_chunk,
            self.queue_time,
            self.handler_time,
            self.batch_size,
            self.errors,
        ):
            yield family.collect()
        responses = Metric("tsl_http_responses_total", "HTTP responses by status.", "counter")
        for status, count in enumerate(self.responses):
            if count:
                responses.add_sample(responses.name, {"status": str(status)}, count)
        yield responses
        refused = Metric("tsl_refused_callers_total", "Calls without the right key.", "counter")
        for (key, reason), count in sorted(self.refused_callers.items()):
            refused.add_sample(refused.name, {"key": key, "reason": reason}, count)
        yield refused


class StateMetrics:
    """Looked at when somebody scrapes.

    Args:
        registry: what is served.
        count_connections: how many clients are connected.
        count_dropped: how many log lines were lost.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        count_connections: Callable[[], int],
        count_dropped: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._count_connections = count_connections
        self._count_dropped = count_dropped

    def collect(self) -> Iterator[Metric]:
        """The present state."""
        served = list(self._registry)
        yield _per_model("tsl_queue_depth", "Requests that wait.", served, lambda s: s.pool.pending)
        yield _per_model(
            "tsl_queue_bytes",
            "Bytes of request bodies that wait.",
            served,
            lambda s: getattr(s.pool.queue, "size_bytes", 0),
        )
        yield _per_model(
            "tsl_in_flight", "Requests that workers have.", served, lambda s: s.pool.jobs_in_flight
        )
        yield _workers(served)
        restarts = Metric("tsl_worker_restarts_total", "Restarts of present workers.", "counter")
        for each in served:
            count = sum(worker.restarts for worker in each.pool.workers)
            restarts.add_sample(restarts.name, _labels(each), count)
        yield restarts
        yield _single("tsl_connections", "gauge", "Open connections.", self._count_connections())
        yield _single(
            "tsl_log_lines_dropped_total",
            "counter",
            "Log lines that were lost because they could not be written in time.",
            self._count_dropped(),
        )


def _labels(served: ServedModel) -> dict[str, str]:
    return {"model_name": served.version.name, "model_version": served.version.version}


def _per_model(
    name: str, text: str, served: Iterable[ServedModel], look: Callable[[ServedModel], int]
) -> Metric:
    family = Metric(name, text, "gauge")
    for each in served:
        family.add_sample(name, _labels(each), look(each))
    return family


def _workers(served: Iterable[ServedModel]) -> Metric:
    family = Metric("tsl_workers", "Workers by state.", "gauge")
    for each in served:
        states = Counter(worker.state.name.lower() for worker in each.pool.workers)
        for state, count in sorted(states.items()):
            family.add_sample(family.name, {**_labels(each), "state": state}, count)
    return family


def _single(name: str, kind: Kind, text: str, value: int) -> Metric:
    family = Metric(name, text, kind)
    family.add_sample(name, {}, value)
    return family
