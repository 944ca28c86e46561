"""Where each metric goes: into memory, for the metrics page, or into a log, line by line.

``metrics_mode`` decides (reference: metrics, section 2). ``log``, the default: every update is a
line, and the page is empty. ``prometheus``: everything is in memory. ``legacy``: the three
``ts_*`` metrics are in memory, the others are lines. What a definition file leaves out goes
nowhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from prometheus_client.metrics_core import Metric

from ..host import HOSTNAME
from .definitions import Definition, Definitions
from .exposition import render
from .families import NULL, Child, Family
from .lines import Add, series_json, series_text

logger = logging.getLogger(__name__)

OWN_PREFIX: Final = "tsl_"
LEGACY: Final = frozenset(
    {
        "ts_inference_requests_total",
        "ts_inference_latency_microseconds",
        "ts_queue_latency_microseconds",
    }
)
"""What Prometheus sees in ``legacy`` mode."""

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


class Board:
    """All metrics of a server.

    Args:
        definitions: which there are.
        mode: ``metrics_mode``.
        add: takes lines about the server and the system; None when their log is off.
        is_json: whether lines are JSON.
    """

    def __init__(
        self, definitions: Definitions, mode: str, add: Add | None, *, is_json: bool = False
    ) -> None:
        self.mode = mode
        self._definitions = definitions
        self._add = add
        self._make_series = series_json if is_json else series_text
        self._families: dict[str, Family] = {}
        self._more: list[Callable[[], Iterable[Metric]]] = []
        self._complained: set[str] = set()
        for problem in definitions.problems:
            logger.error("%s", problem)
        for definition in definitions.server.values():
            if self.is_in_memory(definition.name):
                self.new_family(definition)

    def is_in_memory(self, name: str) -> bool:
        """Whether the page, and not a log, has this metric."""
        return self.mode == "prometheus" or (self.mode == "legacy" and name in LEGACY)

    def new_family(self, definition: Definition) -> Family | None:
        """Show another metric on the page; None when Prometheus could not read it."""
        name = definition.name
        if name in self._families or name.startswith(OWN_PREFIX):
            reason = "the name is taken"
        elif not _NAME.fullmatch(name):
            reason = "this is no name of a metric"
        elif not all(map(_LABEL.fullmatch, definition.dimensions)) or "le" in definition.dimensions:
            reason = f"it cannot have the dimensions {', '.join(definition.dimensions)}"
        elif len(set(definition.dimensions)) != len(definition.dimensions):
            reason = "it has a dimension twice"
        else:
            family = self._families[name] = Family(definition)
            return family
        self.complain(name, f"Metric {name!r} is not shown: {reason} (Prometheus data model)")
        return None

    def complain(self, key: str, text: str) -> None:
        """Log an error about a metric, once."""
        if key not in self._complained and len(self._complained) < 1000:
            self._complained.add(key)
            logger.error("%s", text)

    def series(self, name: str, *values: str) -> Child:
        """One series of a metric of the front end.

        Args:
            name: which; one that is not defined is measured for nobody.
            values: of its dimensions, in their order, without the host's name.
        """
        definition = self._definitions.server.get(name)
        if definition is None:
            return NULL
        if len(values) != len(definition.dimensions) - 1:
            self.complain(
                name,
                f"Metric {name} is not recorded: it comes with {len(values)} values, and is "
                f"defined with the dimensions {', '.join(definition.dimensions)}",
            )
            return NULL
        family = self._families.get(name)
        if family is not None:
            return family.child((*values, HOSTNAME))
        if self._add is None or self.is_in_memory(name):
            return NULL
        return self._make_series(definition, values, self._add)

    # -- the page

    def also(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Show what ``collect`` returns at each look at the page."""
        self._more.append(collect)

    def page(self, names: Collection[str] = ()) -> bytes:
        """The text of the metrics endpoint.

        Args:
            names: samples to restrict it to; all when empty.
        """
        return render(self._collect(), names)

    def _collect(self) -> Iterator[Metric]:
        for family in list(self._families.values()):
            yield family.collect()
        for collect in self._more:
            yield from collect()
