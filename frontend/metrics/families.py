"""Metrics in memory: a family per name, a child per combination of label values.

Whoever updates holds the child, so an update is a call and an addition. Text is made by who
scrapes (`exposition`). The children of a family are bounded: label values can come from outside.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client.metrics_core import Metric

from .definitions import Definition
from .doubles import double_text

logger = logging.getLogger(__name__)

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Upper bounds of TorchServe's histograms, whatever their unit."""
MAX_CHILDREN: Final = 1000
"""Combinations of label values per family; more would be a leak of somebody's."""


class Child(Protocol):
    """One series of a metric."""

    def update(self, value: float) -> None:
        """Add to a counter, set a gauge, observe in a histogram."""

    @property
    def one(self) -> Callable[[], None]:
        """Does what ``update(1)`` does; to be bound once, and called often."""


class Null:
    """A series that nobody wants to see."""

    __slots__ = ()

    def update(self, value: float) -> None:
        """Nothing."""

    def one(self) -> None:
        """Nothing."""


NULL: Final = Null()


class Counter:
    """Only grows.

    It begins at -0.0, which means "never updated": whatever is added, even 0, the sign is gone.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = -0.0

    def update(self, value: float) -> None:
        """Add."""
        self.value += value

    def one(self) -> None:
        """Add 1."""
        self.value += 1


class Gauge:
    """The latest value."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float | None = None

    def update(self, value: float) -> None:
        """Replace."""
        self.value = value

    def one(self) -> None:
        """Replace by 1."""
        self.value = 1


class Histogram:
    """Counts by upper bound.

    Args:
        bounds: upper bounds, ascending; what is above the last is counted, too.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: float = 0

    def update(self, value: float) -> None:
        """Observe."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def one(self) -> None:
        """Observe 1."""
        self.update(1)


class Family:
    """All series of one metric.

    Args:
        definition: its name, kind and labels.
        help: the explanation; TorchServe's by default.
        bounds: upper bounds, for a histogram.
    """

    def __init__(
        self,
        definition: Definition,
        help: str = "",  # noqa: A002  (the exposition format's own word)
        bounds: tuple[float, ...] = BUCKETS,
    ) -> None:
        self.definition = definition
        self._help = help or definition.help
        self._bounds = bounds
        self._children: dict[tuple[str, ...], Counter | Gauge | Histogram] = {}
        self._is_full = False

    def child(self, values: tuple[str, ...]) -> Child:
        """The series of these label values, one per dimension, in their order."""
        child = self._children.get(values)
        if child is not None:
            return child
        if len(self._children) >= MAX_CHILDREN:
            if not self._is_full:
                self._is_full = True
                logger.error(
                    "Metric %s has %d combinations of label values; further ones are dropped",
                    self.definition.name,
                    MAX_CHILDREN,
                )
            return NULL
        self._children[values] = child = self._new()
        return child

    def _new(self) -> Counter | Gauge | Histogram:
        kind = self.definition.kind
        if kind == "histogram":
            return Histogram(self._bounds)
        return Counter() if kind == "counter" else Gauge()

    def collect(self) -> Metric:
        """The present values in prometheus_client's data model; labels keep their order.

        Series are bound before they are needed; until its first update one is not shown.
        """
        definition = self.definition
        name, names = definition.name, definition.dimensions
        family = Metric(name, self._help, definition.kind)
        for values, child in self._children.items():
            labels = dict(zip(names, values, strict=True))
            if isinstance(child, Histogram):
                _add_histogram(family, labels, child)
            elif child.value is not None and not _is_new(child):
                family.add_sample(name, labels, child.value)
        return family


def _is_new(child: Counter | Gauge) -> bool:
    return isinstance(child, Counter) and math.copysign(1, child.value) < 0


def _add_histogram(family: Metric, labels: dict[str, str], child: Histogram) -> None:
    if not any(child.counts):
        return
    name, seen = family.name, 0
    for bound, count in zip((*child.bounds, float("inf")), child.counts, strict=True):
        seen += count
        family.add_sample(f"{name}_bucket", {**labels, "le": double_text(bound)}, seen)
    family.add_sample(f"{name}_count", labels, seen)
    family.add_sample(f"{name}_sum", labels, child.total)
