"""A request's parts to the dict that a handler gets.

This is the only place where model input is decoded; the front end never looks into it.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from tsl.protocol.frames import Buffer, Part, Row
from tsl.protocol.tensors import FRAMED

from .shared_memory import NO_REGIONS, Regions
from .tensor_requests import INLINE_TYPES, inline_row

_log: Final = logging.getLogger(__name__)
_NOTHING_REPEATED: Final[dict[str, list[Any]]] = {}


class RequestRow(dict[str, Any]):
    """One request's values by parameter name; of a repeated name, the last value.

    Attributes:
        regions: shared memory that the request may use.
        is_framed: whether its answers are to be framed (`tsl.protocol.tensors.frame`).
    """

    _repeated = _NOTHING_REPEATED
    regions = NO_REGIONS
    is_framed = False

    @property
    def has_repeated(self) -> bool:
        """Whether some name has several values."""
        return bool(self._repeated)

    def getlist(self, name: str) -> list[Any]:
        """All values that the request had under one name.

        Args:
            name: parameter name.

        Returns:
            The values in the order of the request; empty when there is none.
        """
        if name in self._repeated:
            return list(self._repeated[name])
        return [self[name]] if name in self else []

    def add(self, name: str, value: Any) -> None:
        """Put a value behind those the name already has."""
        if name in self:
            if self._repeated is _NOTHING_REPEATED:
                self._repeated = {}
            self._repeated.setdefault(name, [self[name]]).append(value)
        self[name] = value


def decode_row(row: Row, *, decode_input: bool = True) -> RequestRow:
    """Build what a handler gets for one request.

    Args:
        row: the request as it came.
        decode_input: decode JSON and text by their content type; else all values are
            ``bytearray``.

    Returns:
        A new dict; its values are the handler's own, nothing else refers to them.

    Raises:
        InvalidInput: it carries tensors that are not valid.
    """
    parts = row.parts
    values = RequestRow()
    if len(parts) == 1:
        part = parts[0]
        values[part.name] = _decode(part) if part.content_type and decode_input else _own(part.body)
        return values
    if row.properties:
        values.regions = Regions.of(row)
        values.is_framed = FRAMED in row.properties[::2]
    if parts and parts[-1].content_type in INLINE_TYPES:
        values["body"] = inline_row(row, values.regions, decode_input=decode_input)
        return values
    for part in parts:
        values.add(part.name, _decode(part) if decode_input else _own(part.body))
    return values


def _decode(part: Part) -> Any:
    """Decode a value as its content type says; keep it raw when it is not what it claims."""
    body: Buffer = part.body
    content_type = part.content_type.lower()
    try:
        if content_type == "application/json":
            return json.loads(str(body, "utf-8"))
        if content_type.startswith("text"):
            return str(body, "utf-8")
    except (ValueError, RecursionError) as error:
        _log.warning(
            "Parameter %r is not the %s it claims to be and stays raw: %s",
            part.name,
            content_type,
            error,
        )
    return _own(body)


def _own(body: Buffer) -> bytearray:
    """A body for the handler alone: a copy, unless it came into memory of its own already."""
    return body if type(body) is bytearray else bytearray(body)
