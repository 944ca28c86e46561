"""Metrics as log lines: one per update, in the form that TorchServe's log collectors parse.

``{Name}.{Unit}:{value}|#{Dimension}:{value},…|#hostname:{host}``, and behind it ``requestID:…``
for handlers' metrics and ``timestamp:…`` (reference: metrics, section 4). What does not change
from update to update is made once. The JSON form has the same parts as fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from ..host import HOSTNAME
from .definitions import Definition
from .doubles import double_text

Add = Callable[[bytes], None]

WHOLE_BELOW: Final = 10_000_000
"""Smaller whole numbers have no exponent in Java's notation."""
MAX_HEADS: Final = 1024
"""Values of a series whose text is remembered."""
_LINE_BREAKS: Final = str.maketrans("\r\n", "  ")


class LineSeries:
    """One series of a front-end metric; a `Child`. The log adds the time stamp.

    Args:
        add: takes a line.
        before: what comes before the value.
        after: what comes behind it.

    Attributes:
        one: does what ``update(1)`` does, for less.
    """

    __slots__ = ("_after", "_before", "_line", "_value", "add", "one")

    def __init__(self, add: Add, before: bytes, after: bytes) -> None:
        self.add = add
        self._before = before
        self._after = after
        self._value: float | None = None
        self._line = b""
        self.one: Callable[[], None] = partial(add, b"%b1.0%b" % (before, after))

    @property
    def format(self) -> bytes:
        """The line, with ``%d`` in the place of a whole number below `WHOLE_BELOW`."""
        return b"%b%%d.0%b" % (self._before.replace(b"%", b"%%"), self._after.replace(b"%", b"%%"))

    def update(self, value: float) -> None:
        """Log the value; a counter's increment."""
        if value != self._value:
            self._value = value
            if type(value) is int and 0 <= value < WHOLE_BELOW:  # nearly always: what Java writes
                self._line = b"%b%d.0%b" % (self._before, value, self._after)
            else:
                self._line = b"%b%b%b" % (self._before, double_text(value).encode(), self._after)
        self.add(self._line)


class LineGroup:
    """Three series that are always updated together: one text, with a line of each.

    Args:
        series: of one log.
    """

    __slots__ = ("_add", "_format", "_series")

    def __init__(self, series: Sequence[LineSeries]) -> None:
        self._series = tuple(series)
        self._add = self._series[0].add
        self._format = b"\n".join(each.format for each in self._series)

    def update(self, one: int, two: int, three: int) -> None:
        """Log a value of each series, in their order."""
        if 0 <= one < WHOLE_BELOW and 0 <= two < WHOLE_BELOW and 0 <= three < WHOLE_BELOW:
            self._add(self._format % (one, two, three))
            return
        for series, value in zip(self._series, (one, two, three), strict=True):
            series.update(value)


class ModelLineSeries:
    """One series of a handler's metric: its lines also name requests and moment.

    Args:
        add: takes a line.
        before: what comes before the value.
        between: what comes between the value and the requests' ids.
        before_time: what comes between these and the seconds since the epoch.
        after: what ends the line.
        no_ids: what stands for no request.
    """

    __slots__ = (
        "_add",
        "_after",
        "_before",
        "_before_time",
        "_between",
        "_ends",
        "_heads",
        "_moment",
        "_no_ids",
    )

    def __init__(
        self, add: Add, before: bytes, between: bytes, before_time: bytes, after: bytes,
        no_ids: bytes,
    ) -> None:  # fmt: skip
        self._add = add
        self._before = before
        self._between = between
        self._before_time = before_time
        self._after = after
        self._no_ids = no_ids
        # The same values come again, and the same second: the texts around the ids are kept.
        self._heads: dict[float, bytes] = {}
        self._moment: int | None = None
        self._ends = b""

    def update(self, value: float, ids: str, timestamp: int) -> None:
        """Log the value."""
        if timestamp != self._moment:
            self._moment = timestamp
            self._ends = b"%b%d%b" % (self._before_time, timestamp, self._after)
        head = self._heads.get(value) or self._head(value)
        self._add(head + (ids.encode("utf-8", "replace") or self._no_ids) + self._ends)

    def _head(self, value: float) -> bytes:
        is_json = self._after  # JSON has no word for what is not finite
        number = double_text(value) if not is_json or math.isfinite(value) else "null"
        head = b"%b%b%b" % (self._before, number.encode(), self._between)
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        if value:  # 0.0 and -0.0 are the same key, and not the same text
            self._heads[value] = head
        return head


def series_text(definition: Definition, values: Iterable[str], add: Add) -> LineSeries:
    """A series of the front end as text; the log's lines end in the time."""
    before, after = _text(definition, values)
    return LineSeries(add, before, after)


def series_json(definition: Definition, values: Iterable[str], add: Add) -> LineSeries:
    """A series of the front end as JSON; the log's lines begin with the time."""
    before = _json(definition, values)
    return LineSeries(add, before + b',"value":', b"}")


def model_series_text(definition: Definition, values: Iterable[str], add: Add) -> ModelLineSeries:
    """A series of a handler as text."""
    before, after = _text(definition, values)
    return ModelLineSeries(add, before, after + b",requestID:", b",timestamp:", b"", b"null")


def model_series_json(definition: Definition, values: Iterable[str], add: Add) -> ModelLineSeries:
    """A series of a handler as JSON."""
    before = _json(definition, values) + b',"value":'
    return ModelLineSeries(add, before, b',"request_id":"', b'","timestamp":', b"}", b"")


def _text(definition: Definition, values: Iterable[str]) -> tuple[bytes, bytes]:
    pairs = ",".join(
        f"{name}:{value}" for name, value in zip(definition.dimensions[:-1], values, strict=True)
    )
    before = f"{definition.name}.{definition.unit}:".translate(_LINE_BREAKS)
    after = f"|#{pairs}|#hostname:{HOSTNAME}".translate(_LINE_BREAKS)
    return before.encode("utf-8", "replace"), after.encode("utf-8", "replace")


def _json(definition: Definition, values: Iterable[str]) -> bytes:
    """The fields of a series, without the braces around all."""
    fields: dict[str, Any] = {
        "name": definition.name,
        "unit": definition.unit,
        "dimensions": dict(zip(definition.dimensions[:-1], values, strict=True)),
        "hostname": HOSTNAME,
    }
    return json.dumps(fields, separators=(",", ":"))[1:-1].encode()
