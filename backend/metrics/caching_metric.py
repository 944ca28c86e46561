"""A declared metric: checks an update and hands it on as a `MetricRecord`.

Not responsible for finding metrics by name or for adding the model's own dimensions
(`cache`), nor for adding updates up: that is the front end's business.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tsl.protocol.frames import MetricRecord

from .dimension import Dimension
from .units import MetricTypes, long_name

logger = logging.getLogger(__name__)

MetricSink: TypeAlias = Callable[[MetricRecord], None]


def print_record(record: MetricRecord) -> None:
    """The sink outside of a worker: one ``[METRICS]`` line on standard output."""
    pairs = record.dimensions
    dimensions = ",".join(f"{pairs[i]}:{pairs[i + 1]}" for i in range(0, len(pairs), 2))
    line = (
        f"[METRICS]{record.name}.{record.unit}:{record.value}|#{dimensions}"
        f"|#type:{record.kind}|#hostname:{socket.gethostname()},{record.timestamp}"
    )
    if record.request_ids:
        line += f",{record.request_ids}"
    sys.stdout.write(line + "\n")


_default_sink: MetricSink = print_record


def set_default_sink(sink: MetricSink) -> None:
    """Say where metrics go that nobody has given a sink; a worker does so before it loads."""
    global _default_sink
    _default_sink = sink


def default_sink(record: MetricRecord) -> None:
    """The sink of a metric that was given none."""
    _default_sink(record)


def is_printing() -> bool:
    """Whether the default sink prints, because this is no worker."""
    return _default_sink is print_record


class CachingMetric:
    """One metric with the names of its dimensions.

    Args:
        metric_name: its name.
        unit: short or own name of the unit.
        dimension_names: labels, in the order in which values are given.
        metric_type: counter, gauge or histogram.
        sink: receives each accepted update.
    """

    __slots__ = (
        "_kind", "_long_unit", "dimension_names", "metric_name", "metric_type", "sink", "unit",
    )  # fmt: skip

    def __init__(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str],
        metric_type: MetricTypes,
        sink: MetricSink = default_sink,
    ) -> None:
        self.metric_name = metric_name
        self.unit = unit
        self.dimension_names = list(dimension_names)
        self.metric_type = metric_type
        self.sink = sink
        self._kind = metric_type.name
        self._long_unit = long_name(unit)

    def add_or_update(
        self,
        value: float,
        dimension_values: Sequence[str] = (),
        request_id: str = "",
    ) -> None:
        """Record a value. A value or dimensions that do not fit are logged, never raised.

        Args:
            value: increment of a counter, else the observed value.
            dimension_values: one for each of ``dimension_names``, in their order.
            request_id: ids of the requests it belongs to, joined by commas.
        """
        names = self.dimension_names
        if len(dimension_values) != len(names):
            logger.error(
                "Metric %s is not updated: it has the dimensions %s, but got the values %s.",
                self.metric_name,
                names,
                list(dimension_values),
            )
            return
        pairs: list[str] = []
        for name, dimension_value in zip(names, dimension_values, strict=True):
            pairs.append(name)
            pairs.append(str(dimension_value))
        self._emit(value, pairs, request_id)

    def update(
        self,
        value: float,
        request_id: str = "",
        dimensions: Sequence[Dimension] = (),
    ) -> None:
        """Record a value with dimensions that carry their names; these replace the stored ones.

        Args:
            value: increment of a counter, else the observed value.
            request_id: ids of the requests it belongs to, joined by commas.
            dimensions: names and values; empty keeps the stored names.
        """
        if dimensions:
            self.dimension_names = [dimension.name for dimension in dimensions]
        self.add_or_update(value, [dimension.value for dimension in dimensions], request_id)

    def _emit(self, value: float, pairs: list[str], request_id: str) -> None:
        try:
            number = float(value)
        except (TypeError, ValueError):
            logger.error("Metric %s is not updated: %r is no number.", self.metric_name, value)  # noqa: TRY400
            return
        if number < 0 and self.metric_type is MetricTypes.COUNTER:
            logger.error(
                "Counter %s is not updated: its increment %s is negative.",
                self.metric_name,
                value,
            )
            return
        self.sink(
            MetricRecord(
                self.metric_name,
                self._long_unit,
                self._kind,
                number,
                pairs,
                request_id,
                int(time.time()),
            )
        )
