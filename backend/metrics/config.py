"""Read the section ``model_metrics`` of a metrics YAML file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final, NamedTuple

from .errors import MetricsCacheIOError, MetricsCacheKeyError, MetricsCachePyYamlError
from .units import MetricTypes

logger = logging.getLogger(__name__)


class DeclaredMetric(NamedTuple):
    """One entry of the file; the order of fields is that of ``add_metric_to_cache``."""

    name: str
    unit: str
    dimensions: list[str]
    kind: MetricTypes


_MODEL_DIMENSIONS: Final = ["ModelName", "Level"]

BUILT_IN: Final = (
    DeclaredMetric("HandlerTime", "ms", _MODEL_DIMENSIONS, MetricTypes.GAUGE),
    DeclaredMetric("PredictionTime", "ms", _MODEL_DIMENSIONS, MetricTypes.GAUGE),
)
"""What is declared without a file."""


def read_model_metrics(path: str, *, tolerant: bool = False) -> list[DeclaredMetric]:
    """The metrics that a file declares for models.

    Args:
        path: a YAML file, or "" for the built-in set.
        tolerant: leave wrong entries out, as the front end does, and log them.

    Raises:
        MetricsCacheIOError: the file cannot be read.
        MetricsCachePyYamlError: it is not YAML.
        MetricsCacheKeyError: the section is missing or empty, or an entry is wrong.
    """
    if not path:
        return list(BUILT_IN)
    section = _load(path)
    declared: list[DeclaredMetric] = []
    for kind_name, entries in section.items():
        for entry in entries or [None]:
            try:
                kind = _kind(kind_name, path)
                if entry is not None:
                    declared.append(_entry(entry, kind, path))
            except MetricsCacheKeyError as error:
                if not tolerant:
                    raise
                logger.error("%s; left out", error)  # noqa: TRY400 - the text says it all
    return declared


def _kind(name: str, path: str) -> MetricTypes:
    try:
        return MetricTypes(name)
    except ValueError:
        msg = f"{path}: model_metrics has no kind {name!r}; use counter, gauge, histogram"
        raise MetricsCacheKeyError(msg) from None


def _load(path: str) -> dict[str, Any]:
    import yaml  # not needed for the built-in set

    try:
        text = Path(path).read_bytes()
    except OSError as error:
        msg = f"metrics file {path} cannot be read: {error.strerror}"
        raise MetricsCacheIOError(msg) from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"metrics file {path} is not YAML: {error}"
        raise MetricsCachePyYamlError(msg) from error
    section = document.get("model_metrics") if isinstance(document, dict) else None
    if not isinstance(section, dict) or not section:
        msg = f"metrics file {path} has no section model_metrics"
        raise MetricsCacheKeyError(msg)
    return section


def _entry(entry: object, kind: MetricTypes, path: str) -> DeclaredMetric:
    fields = entry if isinstance(entry, dict) else {}
    name, unit = fields.get("name"), fields.get("unit")
    dimensions = fields.get("dimensions") or []
    if not (isinstance(name, str) and name and isinstance(unit, str) and unit):
        msg = f"{path}: each {kind.value} of model_metrics needs a name and a unit"
        raise MetricsCacheKeyError(msg)
    if not (isinstance(dimensions, list) and all(isinstance(each, str) for each in dimensions)):
        msg = f"{path}: dimensions of {name} must be a list of names"
        raise MetricsCacheKeyError(msg)
    return DeclaredMetric(name, unit, dimensions, kind)
