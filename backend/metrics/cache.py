"""The metrics of one model as handlers see them: ``context.metrics``.

The cache knows which metrics exist and completes every update with the model's name, the
level and the request ids. What becomes of an update is decided by the sink: in a worker it
travels to the front end in a frame, elsewhere it is printed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, KeysView, Mapping, Sequence
from typing import Any, Final

from .caching_metric import CachingMetric, MetricSink, default_sink
from .config import read_model_metrics
from .dimension import Dimension
from .errors import (
    MetricsCacheKeyError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
)
from .units import SIZE_UNITS, TIME_UNITS, MetricTypes

logger = logging.getLogger(__name__)

_LEVEL_ERROR: Final = Dimension("Level", "Error")


class MetricsCache:
    """All metrics of one model.

    Attributes:
        cache: the metrics by kind and name.
        store: always empty; older handlers look at it.
        request_ids: ids of the running batch, joined by commas, or a dict from batch index
            to id; None outside of a request.
        model_name: value of the dimension ``ModelName``.
        config_file_path: the YAML file, or "" for the built-in set.

    Args:
        config_file_path: a metrics YAML file with the section ``model_metrics``, or "".
        model_name: name of the model.
        sink: receives each update; None means the default of the process, see
            `set_default_sink`.

    Call `initialize_cache` next, or use `from_config`.
    """

    def __init__(
        self,
        config_file_path: str = "",
        model_name: str | None = None,
        sink: MetricSink | None = None,
    ) -> None:
        self.cache: dict[MetricTypes, dict[str, CachingMetric]] = {}
        self.store: list[Any] = []
        self.request_ids: str | Mapping[int, str] | None = None
        self.model_name = model_name
        self.config_file_path = config_file_path
        self.sink: MetricSink = sink or default_sink

    @classmethod
    def from_config(
        cls, path: str, model_name: str, sink: MetricSink | None = None, *, tolerant: bool = False
    ) -> MetricsCache:
        """Build the cache of a model.

        Args:
            path: metrics YAML file, or "" for the built-in set.
            model_name: name of the model.
            sink: receives each update; None means the default of the process, see
                `set_default_sink`.
            tolerant: leave wrong entries out and log them.

        Raises:
            MetricsCacheIOError: the file cannot be read.
            MetricsCachePyYamlError: it is not YAML.
            MetricsCacheKeyError: it has no usable section ``model_metrics``.
        """
        metrics = cls(path, model_name, sink)
        metrics.initialize_cache(tolerant=tolerant)
        return metrics

    def initialize_cache(self, *, tolerant: bool = False) -> None:
        """Declare the metrics of the configuration. Raises what `from_config` raises."""
        for declared in read_model_metrics(self.config_file_path, tolerant=tolerant):
            self.add_metric_to_cache(*declared)

    def set_request_ids(self, request_ids: str | Mapping[int, str] | None) -> None:
        """Name the requests that the next updates belong to.

        Args:
            request_ids: ids in batch order joined by commas, or a dict from index to id.
        """
        self.request_ids = request_ids

    def cache_keys(self) -> KeysView[MetricTypes]:
        """The kinds of metrics that have been declared."""
        return self.cache.keys()

    # -- declaring and finding metrics -----------------------------------------------------

    def add_metric_to_cache(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> CachingMetric:
        """Declare a metric; one of the same name and kind is replaced.

        Args:
            metric_name: its name.
            unit: name of the unit.
            dimension_names: labels, in the order in which values are given.
            metric_type: counter, gauge or histogram.

        Raises:
            MetricsCacheTypeError: an argument has the wrong type.
        """
        _require(metric_name, str, "metric_name")
        _require(unit, str, "unit")
        _require(dimension_names, (list, tuple), "dimension_names")
        _require(metric_type, MetricTypes, "metric_type")
        if metric_name in self.cache.get(metric_type, ()):
            logger.warning("Metric %s is declared again; the later one counts.", metric_name)
        return self._declare(metric_name, unit, dimension_names, metric_type)

    def get_metric(
        self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER
    ) -> CachingMetric:
        """Find a metric by name and kind.

        Raises:
            MetricsCacheTypeError: an argument has the wrong type.
            MetricsCacheKeyError: there is none.
        """
        _require(metric_name, str, "metric_name")
        _require(metric_type, MetricTypes, "metric_type")
        try:
            return self.cache[metric_type][metric_name]
        except KeyError:
            msg = f"there is no {metric_type.value} {metric_name!r}; declare it in the metrics file"
            raise MetricsCacheKeyError(msg) from None

    def _declare(
        self, name: str, unit: str, dimension_names: Sequence[str], kind: MetricTypes
    ) -> CachingMetric:
        metric = CachingMetric(name, unit, dimension_names, kind, self.sink)
        self.cache.setdefault(kind, {})[name] = metric
        return metric

    # -- recording ---------------------------------------------------------------------------

    def add_metric(
        self,
        name: str,
        value: float,
        unit: str,
        idx: int | None = None,
        dimensions: Iterable[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> None:
        """Record a value; the metric is declared if there is none.

        Args:
            name: metric name.
            value: increment of a counter, else the observed value.
            unit: name of the unit; counts only when the metric is declared by this call.
            idx: row of the batch it belongs to; None for all rows.
            dimensions: further labels; ``ModelName`` and ``Level`` are appended.
            metric_type: counter, gauge or histogram.

        Raises:
            MetricsCacheTypeError: an argument has the wrong type.
        """
        _require(name, str, "name")
        _require(unit, str, "unit")
        _require(metric_type, MetricTypes, "metric_type")
        names, values = self._complete(dimensions)
        by_name = self.cache.get(metric_type)
        metric = by_name.get(name) if by_name else None
        if metric is None:
            metric = self._declare(name, unit, names, metric_type)
        metric.add_or_update(value, values, self._request_id(idx))

    def add_counter(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Add to a counter; see `add_metric`."""
        self.add_metric(name, value, "count", idx, dimensions, MetricTypes.COUNTER)

    def add_time(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "ms",
        dimensions: Iterable[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a duration; see `add_metric`.

        Raises:
            MetricsCacheValueError: the unit is neither ms nor s.
        """
        if unit not in TIME_UNITS:
            msg = f"unit of time metric {name!r} must be ms or s, not {unit!r}"
            raise MetricsCacheValueError(msg)
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_size(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "MB",
        dimensions: Iterable[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a size; see `add_metric`.

        Raises:
            MetricsCacheValueError: the unit is none of MB, kB, GB, B.
        """
        if unit not in SIZE_UNITS:
            msg = f"unit of size metric {name!r} must be MB, kB, GB or B, not {unit!r}"
            raise MetricsCacheValueError(msg)
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_percent(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Iterable[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a percentage, 0 to 100; see `add_metric`."""
        self.add_metric(name, value, "percent", idx, dimensions, metric_type)

    def add_error(
        self,
        name: str,
        value: float,
        dimensions: Iterable[Dimension] | None = None,
    ) -> None:
        """Count an error; its ``Level`` is ``Error``. See `add_metric`."""
        self.add_metric(name, value, "", None, [*(dimensions or ()), _LEVEL_ERROR])

    def _complete(self, dimensions: Iterable[Dimension] | None) -> tuple[list[str], list[str]]:
        """Names and values of the caller's dimensions and of the automatic ones."""
        level = "Model" if self.request_ids else "Error"
        if not dimensions:
            return ["ModelName", "Level"], [str(self.model_name), level]
        names, values = [], []
        for dimension in dimensions:
            names.append(dimension.name)
            values.append(dimension.value)
        for name, value in (("ModelName", str(self.model_name)), ("Level", level)):
            if name not in names:
                names.append(name)
                values.append(value)
        return names, values

    def _request_id(self, idx: int | None) -> str:
        ids = self.request_ids
        if not ids:
            return ""
        if isinstance(ids, str):
            if idx is None:
                return ids
            each: Sequence[str] = ids.split(",")
            return each[idx] if 0 <= idx < len(each) else ids
        if idx is not None and idx in ids:
            return ids[idx]
        return ",".join(ids.values())


def _require(value: object, kind: type | tuple[type, ...], name: str) -> None:
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(each.__name__ for each in kinds)
        msg = f"{name} must be {expected}, not {type(value).__name__}"
        raise MetricsCacheTypeError(msg)
