"""Kinds and units of metrics."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

LONG_NAMES: Final = MappingProxyType(
    {
        "ms": "Milliseconds",
        "s": "Seconds",
        "percent": "Percent",
        "count": "Count",
        "MB": "Megabytes",
        "GB": "Gigabytes",
        "kB": "Kilobytes",
        "B": "Bytes",
        "": "unit",
        None: "unit",
    }
)
"""Short names that handlers use, to the names that log lines carry."""

TIME_UNITS: Final = frozenset({"ms", "s"})
SIZE_UNITS: Final = frozenset({"MB", "kB", "GB", "B"})


def long_name(unit: str | None) -> str:
    """The name of a unit in log lines; unknown ones stand for themselves."""
    return LONG_NAMES.get(unit) or str(unit)


class Units:
    """The table of units as an object: ``Units().units["ms"]``."""

    def __init__(self) -> None:
        self.units: dict[str | None, str] = dict(LONG_NAMES)


class MetricTypes(Enum):
    """How updates of a metric are combined."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
