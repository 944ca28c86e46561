"""Handlers' metrics: from the frames of workers to the page or the log.

Only defined metrics are taken, as TorchServe does it, unless ``model_metrics_auto_detect`` is on;
then the first update defines the metric. Names and label values come from handlers, so their
number is bounded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from tsl.protocol.frames import MetricRecord

from ..host import HOSTNAME
from .board import Board
from .definitions import KINDS, Definition
from .families import NULL, Child
from .lines import Add, ModelLineSeries, model_series_json, model_series_text
from .own import OwnMetrics
from .server_stats import HOST_LEVEL

if TYPE_CHECKING:
    from ..worker_channel import Batch

MAX_DETECTED: Final = 1000
MAX_BOUND: Final = 10_000
"""Series that are remembered; beyond that each update looks up anew, which is only slower."""


class _Series(Protocol):
    def update(self, value: float, ids: str, timestamp: int) -> None: ...


class _InMemory:
    """A series on the page, which has no place for requests and times."""

    __slots__ = ("_child", "_is_counter")

    def __init__(self, child: Child, *, is_counter: bool) -> None:
        self._child = child
        self._is_counter = is_counter

    def update(self, value: float, ids: str, timestamp: int) -> None:
        """Take the value; a counter never falls."""
        del ids, timestamp
        if not self._is_counter or value >= 0:
            self._child.update(value)


_DISCARD: Final = _InMemory(NULL, is_counter=False)


class HandlerMetrics:
    """The metrics of all handlers.

    Args:
        board: where they go.
        definitions: the defined ones, by name.
        add: takes their lines; None when their log is off.
        auto_detect: whether others are taken, too.
        own: tsl's own metrics, None when nobody can see them.
        is_json: whether lines are JSON.
    """

    def __init__(
        self,
        board: Board,
        definitions: dict[str, Definition],
        add: Add | None,
        *,
        auto_detect: bool = False,
        own: OwnMetrics | None = None,
        is_json: bool = False,
    ) -> None:
        self.board = board
        self.own = own
        self._definitions = dict(definitions)
        self._add = add
        self._auto_detect = auto_detect
        self._make_line = model_series_json if is_json else model_series_text
        self._detected = 0
        self._bound: dict[tuple[str, ...], _Series] = {}
        self._families = {
            name: board.new_family(definition)
            for name, definition in definitions.items()
            if board.is_in_memory(name)
        }

    def of(self, name: str, version: str) -> PoolMetrics:
        """What the workers of one model version report to."""
        return PoolMetrics(self, name, version)

    def record(self, records: list[MetricRecord]) -> None:
        """Take updates of a worker."""
        bound = self._bound
        for record in records:
            key = (record[0], *record[4])
            series = bound.get(key)
            if series is None:
                series = self.bind(record)
                if len(bound) < MAX_BOUND:
                    bound[key] = series
            series.update(record[3], record[5], record[6])

    def bind(self, record: MetricRecord) -> _Series:
        """Where updates with this name and these dimensions go."""
        definition = self._definitions.get(record.name) or self._detect(record)
        if definition is None:
            return _DISCARD
        values = record.dimensions[1::2]
        if len(values) != len(definition.dimensions) - 1:
            self.board.complain(
                record.name,
                f"Metric {record.name!r} is not recorded: it comes with the dimensions "
                f"{', '.join(record.dimensions[::2])}, and is defined with "
                f"{', '.join(definition.dimensions[:-1])}",
            )
            return _DISCARD
        if self.board.is_in_memory(record.name):
            family = self._families.get(record.name)
            child = NULL if family is None else family.child((*values, HOSTNAME))
            return _InMemory(child, is_counter=definition.kind == "counter")
        if self._add is None:
            return _DISCARD
        return self._make_line(definition, values, self._add)

    def _detect(self, record: MetricRecord) -> Definition | None:
        name = record.name
        if not self._auto_detect:
            self.board.complain(
                name,
                f"Metric {name!r} of a handler is not recorded: define it in model_metrics of "
                "metrics_config, or set model_metrics_auto_detect=true",
            )
            return None
        kind = next((kind for kind in KINDS if kind == record.kind.lower()), None)
        if kind is None or self._detected >= MAX_DETECTED:
            self.board.complain(name, f"Metric {name!r} of a handler is not recorded")
            return None
        self._detected += 1
        dimensions = (*record.dimensions[::2], "Hostname")
        found = self._definitions[name] = Definition(name, kind, record.unit, dimensions)
        if self.board.is_in_memory(name):
            self._families[name] = self.board.new_family(found)
        return found


class PoolMetrics:
    """What the workers of one model version report to; the `MetricSink` of its pool.

    Args:
        metrics: of all handlers.
        name: of the model.
        version: of the model.
    """

    def __init__(self, metrics: HandlerMetrics, name: str, version: str) -> None:
        board, own = metrics.board, metrics.own
        self._metrics = metrics
        self._thread_time = board.series("WorkerThreadTime", HOST_LEVEL)
        self._prediction = metrics.bind(
            MetricRecord(
                "PredictionTime", "Milliseconds", "GAUGE", 0.0,
                ["ModelName", name, "Level", "Model"], "", 0,
            )
        )  # fmt: skip
        self._needs_ids = isinstance(self._prediction, ModelLineSeries)
        self._handler_time = own.handler_time.child((name, version)) if own else None
        self._batch_size = own.batch_size.child((name, version)) if own else NULL

    def predicted(self, batch: Batch, service_us: int) -> None:
        """A batch was answered; the time is known here, so a worker need not send a frame."""
        jobs = batch.jobs
        ids, now = "", 0
        if self._needs_ids:
            ids = jobs[0].row[0] if len(jobs) == 1 else ",".join([job.row[0] for job in jobs])
            now = int(time.time())
        self._prediction.update(round(service_us / 1000, 2), ids, now)
        waited_ms = (time.monotonic() - batch.active_at) * 1000 - service_us / 1000
        self._thread_time.update(max(int(waited_ms), 0))
        if self._handler_time is not None:
            self._handler_time.update(service_us / 1_000_000)
            self._batch_size.update(len(jobs))

    def record(self, records: list[MetricRecord]) -> None:
        """A handler recorded metrics."""
        self._metrics.record(records)

    def loaded(self, label: str, milliseconds: float) -> None:
        """A worker became ready."""
        self._metrics.board.series("WorkerLoadTime", label, HOST_LEVEL).update(int(milliseconds))
