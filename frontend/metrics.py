"""Counters of the front end and where handlers' metrics go.

Counting is plain integer arithmetic on the way of a request; whoever scrapes pays for the text.
Names and labels are TorchServe's (metrics, section 3). In ``log`` mode, the default, the endpoint
is empty, as the original's; with ``metrics_mode=prometheus`` it shows the counters.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from tsl.protocol.errors import TslError
from tsl.protocol.frames import MetricRecord

if TYPE_CHECKING:
    from .jobs import Job
    from .line_log import LineLog

HOSTNAME: Final = socket.gethostname()


class ServerStats:
    """Counts requests, responses and latencies; the `Stats` of every listener.

    Attributes:
        refused_callers: how many callers were refused, by the key that was needed and the reason.
    """

    def __init__(self) -> None:
        self.refused_callers: Counter[tuple[str, str]] = Counter()
        self._responses = [0] * 6  # by hundreds of the status
        # By model, and version as asked for: requests, latency and queue time in seconds, answers.
        self._sums: dict[tuple[str, str], list[float]] = {}

    def accepted(self, job: Job) -> None:
        """A job is about to be queued."""
        sums = self._sums.get(job.labels)
        if sums is None:
            sums = self._sums[job.labels] = [0, 0.0, 0.0, 0]
        sums[0] += 1

    def answered(self, job: Job, status: int) -> None:
        """A model answered; for a stream, began to."""
        del status
        arrived = job.enqueued_at
        sums = self._sums[job.labels]
        sums[1] += time.monotonic() - arrived
        sums[2] += job.sent_at - arrived
        sums[3] += 1

    def failed(self, job: Job, error: TslError) -> None:
        """A job ended without an answer."""

    def refused(self, permission: str, reason: str) -> None:
        """A caller did not show the right key."""
        self.refused_callers[permission, reason] += 1

    def responded(self, status: int) -> None:
        """A response was sent."""
        self._responses[status // 100] += 1

    def collect(self) -> Iterator[Metric]:
        """The counters for prometheus_client."""
        for name, count in (
            ("Requests2XX", self._responses[2]),
            ("Requests4XX", self._responses[4]),
            ("Requests5XX", self._responses[3] + self._responses[5]),
        ):
            family = _counter(name, "Count")
            family.add_sample(name, {"Level": "Host", "Hostname": HOSTNAME}, count)
            yield family
        for position, name, unit, scale in (
            (0, "ts_inference_requests_total", "Count", 1),
            (1, "ts_inference_latency_microseconds", "Microseconds", 1_000_000),
            (2, "ts_queue_latency_microseconds", "Microseconds", 1_000_000),
        ):
            family = _counter(name, unit)
            for (model, version), sums in self._sums.items():
                if position and not sums[3]:
                    continue  # nothing was answered, so there is no latency yet
                value = int(sums[position] * scale)
                labels = {"model_name": model, "model_version": version, "hostname": HOSTNAME}
                family.add_sample(name, labels, value)
            yield family


def _counter(name: str, unit: str) -> Metric:
    return Metric(name, f"Torchserve prometheus counter metric with unit: {unit}", "unknown")


class MetricsPage:
    """The text of the metrics endpoint.

    Args:
        stats: what to show.
        mode: ``metrics_mode``; the page is empty in ``log`` mode.
    """

    def __init__(self, stats: ServerStats, mode: str) -> None:
        self._registry = CollectorRegistry(auto_describe=True)  # so that names can be looked up
        if mode != "log":
            self._registry.register(stats)

    def render(self, names: tuple[str, ...] = ()) -> bytes:
        """Prometheus text format 0.0.4.

        Args:
            names: sample names to restrict the text to; all when empty.
        """
        registry = self._registry.restricted_registry(names) if names else self._registry
        return generate_latest(registry)


class ModelMetricsLog:
    """Writes handlers' metrics as TorchServe's log lines; the `MetricSink` of all pools.

    Args:
        log: where the lines go.
    """

    def __init__(self, log: LineLog) -> None:
        self._log = log

    def predicted(self, model: str, jobs: list[Job], service_us: int) -> None:
        """Write ``PredictionTime``; here and not in the worker, which would need a frame for it."""
        ids = jobs[0].row[0] if len(jobs) == 1 else ",".join(job.row[0] for job in jobs)
        self._log.add(
            f"PredictionTime.ms:{service_us / 1000:.2f}|#ModelName:{model},Level:Model"
            f"|#hostname:{HOSTNAME},requestID:{ids},timestamp:{int(time.time())}".encode()
        )

    def record(self, label: str, records: list[MetricRecord]) -> None:
        """Write one line for each record."""
        del label
        for record in records:
            pairs = iter(record.dimensions)
            dimensions = ",".join(
                f"{name}:{value}" for name, value in zip(pairs, pairs, strict=True)
            )
            self._log.add(
                f"{record.name}.{record.unit}:{record.value}|#{dimensions}|#hostname:{HOSTNAME},"
                f"requestID:{record.request_ids or 'null'},timestamp:{record.timestamp}".encode()
            )
