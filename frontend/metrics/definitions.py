"""Which metrics exist: the built-in set, or a ``metrics.yaml`` of TorchServe's form.

The file's names of dimensions and units are used as they are; which values belong to them is
fixed by who emits the metric (reference: metrics, section 3). A single wrong entry is left out
and reported; it does not cost the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import yaml

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MAX_FILE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric.

    Attributes:
        name: as it is shown.
        kind: how its updates are combined.
        unit: text for log lines and the explanation.
        dimensions: label names in the order of the values; the last one is the host's.
    """

    name: str
    kind: Kind
    unit: str
    dimensions: tuple[str, ...]

    @property
    def help(self) -> str:
        """The explanation on the metrics page; TorchServe's words, which dashboards may show."""
        return f"Torchserve prometheus {self.kind} metric with unit: {self.unit}"


@dataclass(frozen=True, slots=True)
class Definitions:
    """All metrics of a server.

    Attributes:
        server: those of the front end and the system, by name.
        model: those of handlers, by name.
        problems: what was wrong with the file, one sentence each.
        is_usable: false when nothing of the file could be used, so that this is the built-in set.
    """

    server: dict[str, Definition] = field(default_factory=dict)
    model: dict[str, Definition] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    is_usable: bool = True


_HOST: Final = ("Level", "Hostname")
_GPU: Final = ("Level", "DeviceId", "Hostname")
_INFERENCE: Final = ("model_name", "model_version", "hostname")
_MODEL: Final = ("ModelName", "Level", "Hostname")

_SERVER: Final[tuple[Definition, ...]] = (
    Definition("Requests2XX", "counter", "Count", _HOST),
    Definition("Requests4XX", "counter", "Count", _HOST),
    Definition("Requests5XX", "counter", "Count", _HOST),
    Definition("ts_inference_requests_total", "counter", "Count", _INFERENCE),
    Definition("ts_inference_latency_microseconds", "counter", "Microseconds", _INFERENCE),
    Definition("ts_queue_latency_microseconds", "counter", "Microseconds", _INFERENCE),
    Definition("QueueTime", "gauge", "Milliseconds", _HOST),
    Definition("WorkerThreadTime", "gauge", "Milliseconds", _HOST),
    Definition("WorkerLoadTime", "gauge", "Milliseconds", ("WorkerName", *_HOST)),
    Definition("CPUUtilization", "gauge", "Percent", _HOST),
    Definition("MemoryUsed", "gauge", "Megabytes", _HOST),
    Definition("MemoryAvailable", "gauge", "Megabytes", _HOST),
    Definition("MemoryUtilization", "gauge", "Percent", _HOST),
    Definition("DiskUsage", "gauge", "Gigabytes", _HOST),
    Definition("DiskAvailable", "gauge", "Gigabytes", _HOST),
    Definition("DiskUtilization", "gauge", "Percent", _HOST),
    Definition("GPUMemoryUtilization", "gauge", "Percent", _GPU),
    Definition("GPUMemoryUsed", "gauge", "Megabytes", _GPU),
    Definition("GPUUtilization", "gauge", "Percent", _GPU),
)
_HANDLERS: Final[tuple[Definition, ...]] = (
    Definition("HandlerTime", "gauge", "ms", _MODEL),
    Definition("PredictionTime", "gauge", "ms", _MODEL),
)
_WIDTHS: Final = {definition.name: len(definition.dimensions) for definition in _SERVER}
"""How many dimensions what the front end measures has."""


def built_in(problems: tuple[str, ...] = (), *, is_usable: bool = True) -> Definitions:
    """TorchServe's default set."""
    return Definitions(
        {definition.name: definition for definition in _SERVER},
        {definition.name: definition for definition in _HANDLERS},
        problems,
        is_usable,
    )


def load_definitions(path: Path | None) -> Definitions:
    """The metrics of a file, or the built-in ones without a file.

    A file that cannot be used at all means the built-in ones, too: a server without any metric
    would be flying blind.
    """
    if path is None:
        return built_in()
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            return _unusable(path, f"it is larger than {MAX_FILE_BYTES} bytes")
        document = yaml.safe_load(text)
    except OSError as error:
        return _unusable(path, error.strerror or str(error))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return _unusable(path, f"it is not YAML: {' '.join(str(error).split())}")
    if not isinstance(document, dict) or not document.keys() & {"ts_metrics", "model_metrics"}:
        return _unusable(path, "it has neither ts_metrics nor model_metrics")
    return _Reader(document).result()


def _unusable(path: Path, reason: str) -> Definitions:
    text = f"Failed to load metrics configuration: {path}: {reason}; the built-in one is used"
    return built_in((text,), is_usable=False)


class _Reader:
    """Reads one document; collects problems instead of stopping at the first."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._problems: list[str] = []

    def result(self) -> Definitions:
        server: dict[str, Definition] = {}
        for found in self._section("ts_metrics"):
            width = _WIDTHS.get(found.name, len(found.dimensions))
            if found.name in server:
                self._complain(f"{found.name} is defined twice; the first one counts")
            elif width != len(found.dimensions):
                self._complain(
                    f"{found.name} has {width} dimensions, the host's name as the last one; "
                    f"{len(found.dimensions)} are given, so it is left out"
                )
            elif not found.dimensions:
                self._complain(f"{found.name} lacks the dimension of the host's name; left out")
            else:
                server[found.name] = found
        model: dict[str, Definition] = {}
        for found in self._section("model_metrics"):
            if found.name in server or found.name in model:
                self._complain(f"{found.name} is defined twice; the first one counts")
                continue
            dimensions = (*found.dimensions, "Hostname")
            model[found.name] = Definition(found.name, found.kind, found.unit, dimensions)
        return Definitions(server, model, tuple(self._problems))

    def _section(self, section: str) -> Iterator[Definition]:
        by_kind = self._document.get(section) or {}
        if not isinstance(by_kind, dict):
            self._complain(f"{section} must map counter, gauge and histogram to lists")
            return
        for kind, entries in by_kind.items():
            if kind not in KINDS:
                self._complain(f"{section}: {kind!r} is none of {', '.join(KINDS)}")
                continue
            if not isinstance(entries or [], list):
                self._complain(f"{section}: {kind} must be a list")
                continue
            for entry in entries or []:
                found = self._entry(section, kind, entry)
                if found is not None:
                    yield found

    def _entry(self, section: str, kind: Kind, entry: object) -> Definition | None:
        fields = entry if isinstance(entry, dict) else {}
        name, unit = fields.get("name"), fields.get("unit")
        dimensions = fields.get("dimensions") or []
        if not (isinstance(name, str) and name and isinstance(unit, str) and unit):
            self._complain(f"{section}: a {kind} without a name or unit is left out")
            return None
        if not (isinstance(dimensions, list) and all(isinstance(d, str) and d for d in dimensions)):
            self._complain(f"{section}: dimensions of {name} must be a list of names; left out")
            return None
        if len(set(dimensions)) != len(dimensions):
            self._complain(f"{section}: {name} has a dimension twice; left out")
            return None
        return Definition(name, kind, unit, tuple(dimensions))

    def _complain(self, text: str) -> None:
        self._problems.append(f"Failed to load metrics configuration: {text}")
