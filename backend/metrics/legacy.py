"""The metrics interface of older handlers and of system-metrics scripts.

A `Metric` holds its value and knows its log line; a `MetricsStore` collects metrics until
somebody emits them. New handlers use `cache` through ``context.metrics``.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tsl.protocol.frames import MetricRecord

from .caching_metric import default_sink, is_printing
from .dimension import Dimension
from .errors import MetricsCacheValueError
from .units import SIZE_UNITS, TIME_UNITS, long_name


class Metric:
    """A metric with its current value.

    Args:
        name: metric name.
        value: first value.
        unit: short or own name of the unit.
        dimensions: labels.
        request_id: ids of the requests it belongs to, joined by commas.
        metric_method: ``counter`` makes `update` add; everything else replaces.
    """

    def __init__(
        self,
        name: str,
        value: float,
        unit: str,
        dimensions: Sequence[Dimension],
        request_id: str | None = None,
        metric_method: str | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.unit = long_name(unit)
        self.dimensions = list(dimensions)
        self.request_id = request_id
        self.metric_method = metric_method

    def update(self, value: float) -> None:
        """Add to a counter, replace the value of anything else."""
        if self.metric_method == "counter":
            self.value += value
        else:
            self.value = value

    def reset(self) -> None:
        """Set the value to 0."""
        self.value = 0

    def __str__(self) -> str:
        dimensions = ",".join(str(dimension) for dimension in self.dimensions)
        line = (
            f"{self.name}.{self.unit}:{self.value}|#{dimensions}"
            f"|#hostname:{socket.gethostname()},{int(time.time())}"
        )
        return f"{line},{self.request_id}" if self.request_id else line

    def to_dict(self) -> dict[str, Any]:
        """The metric as a JSON object."""
        return {
            "MetricName": self.name,
            "Value": self.value,
            "Unit": self.unit,
            "Dimensions": self.dimensions,
            "Timestamp": int(time.time()),
            "HostName": socket.gethostname(),
            "RequestId": self.request_id,
        }

    def to_record(self) -> MetricRecord:
        """The metric as a worker sends it."""
        return MetricRecord(
            self.name,
            self.unit,
            "COUNTER" if self.metric_method == "counter" else "GAUGE",
            float(self.value),
            [text for each in self.dimensions for text in (each.name, str(each.value))],
            self.request_id or "",
            int(time.time()),
        )


class MetricEncoder(json.JSONEncoder):
    """JSON encoder that knows `Metric` and `Dimension`."""

    def default(self, o: Any) -> Any:
        """The object form of a metric or dimension."""
        if isinstance(o, Metric | Dimension):
            return o.to_dict()
        return super().default(o)


class MetricsStore:
    """Collects metrics in ``store``, one entry for each name, unit, labels and request.

    Args:
        request_ids: id of each row of the batch.
        model_name: name of the model.
    """

    def __init__(self, request_ids: Mapping[int, str] | None, model_name: str) -> None:
        self.store: list[Metric] = []
        self.cache: dict[tuple[str, ...], Metric] = {}
        self.request_ids = request_ids
        self.model_name = model_name

    def add_counter(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Add to a counter."""
        self._record(name, value, "count", self._request_id(idx), dimensions, "counter")

    def add_time(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "ms",
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Record a duration in ms or s.

        Raises:
            MetricsCacheValueError: any other unit.
        """
        if unit not in TIME_UNITS:
            msg = f"unit of time metric {name!r} must be ms or s, not {unit!r}"
            raise MetricsCacheValueError(msg)
        self._record(name, value, unit, self._request_id(idx), dimensions)

    def add_size(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "MB",
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Record a size in MB, kB, GB or B.

        Raises:
            MetricsCacheValueError: any other unit.
        """
        if unit not in SIZE_UNITS:
            msg = f"unit of size metric {name!r} must be MB, kB, GB or B, not {unit!r}"
            raise MetricsCacheValueError(msg)
        self._record(name, value, unit, self._request_id(idx), dimensions)

    def add_percent(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Record a percentage, 0 to 100."""
        self._record(name, value, "percent", self._request_id(idx), dimensions)

    def add_error(
        self,
        name: str,
        value: float,
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Record an error; it belongs to no request."""
        self._record(name, value, "", None, dimensions)

    def add_metric(
        self,
        name: str,
        value: float,
        unit: str,
        idx: int | None = None,
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Record a value of any unit."""
        self._record(name, value, unit, self._request_id(idx), dimensions)

    def _request_id(self, idx: int | None) -> str | None:
        ids = self.request_ids
        if not ids:
            return None
        if idx is not None and idx in ids:
            return ids[idx]
        return ",".join(ids.values())

    def _record(
        self,
        name: str,
        value: float,
        unit: str,
        request_id: str | None,
        dimensions: Iterable[Dimension] | None,
        method: str | None = None,
    ) -> None:
        labels = [*(dimensions or ()), Dimension("ModelName", self.model_name)]
        labels.append(Dimension("Level", "Model" if request_id else "Error"))
        key = (name, unit, str(request_id), *map(str, labels))
        metric = self.cache.get(key)
        if metric is None:
            metric = self.cache[key] = Metric(name, value, unit, labels, request_id, method)
            self.store.append(metric)
        else:
            metric.update(value)


def emit_metrics(metrics: Iterable[Metric]) -> None:
    """Report metrics, such as those of ``MetricsStore.store``.

    A worker sends them to the front end; elsewhere each is a ``[METRICS]`` line on standard output.
    """
    if is_printing():
        sys.stdout.writelines(f"[METRICS]{metric}\n" for metric in metrics)
        return
    for metric in metrics:
        default_sink(metric.to_record())
