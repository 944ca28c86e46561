"""What the parameters of an inference request say to the server itself, not to the model.

``sequence_id``, ``sequence_start`` and ``sequence_end`` make a request part of a sequence, where the
model is a stateful one; ``timeout`` is how long the client waits, in microseconds. ``priority`` is
taken and of no effect, as by Triton for a model without levels of it. A handler sees them all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tsl.protocol.errors import InvalidRequest
from tsl.protocol.frames import Buffer

if TYPE_CHECKING:
    from .config import ServerConfig

TIMEOUT: Final = "timeout"
_MARK: Final = b'"timeout"'
_TRUE: Final = b"true"


class SequenceNames(NamedTuple):
    """Names of the headers that speak of sequences (``ts_header_key_sequence_*``)."""

    id: str
    start: str
    end: str


def sequence_names_of(config: ServerConfig) -> SequenceNames:
    """The names that a configuration has chosen."""
    return SequenceNames(
        config.ts_header_key_sequence_id,
        config.ts_header_key_sequence_start,
        config.ts_header_key_sequence_end,
    )


def may_limit_time(body: bytes | bytearray, size: int) -> bool:
    """Whether a JSON document can have a ``timeout``; a look at it is cheaper than parsing it.

    Args:
        body: begins with the document.
        size: bytes of the document.
    """
    return body.find(_MARK, 0, size) >= 0


def parameters_of(document: Buffer) -> dict[str, Any]:
    """The parameters of a JSON request; none of one that is not valid, which the worker refuses."""
    try:
        parsed = json.loads(str(document, "utf-8"))
    except (ValueError, RecursionError):
        return {}
    parameters = parsed.get("parameters") if isinstance(parsed, dict) else None
    return parameters if isinstance(parameters, dict) else {}


def timeout_of(parameters: Mapping[str, Any]) -> float:
    """How long the client waits, in seconds; 0.0 when it does not say.

    Raises:
        InvalidRequest: the value is no number of microseconds.
    """
    value = parameters.get(TIMEOUT)
    if value is None:
        return 0.0
    if type(value) is not int or value < 0:
        raise InvalidRequest("The parameter timeout must be a number of microseconds, from 0 up.")
    return value / 1_000_000


def sequence_of(parameters: Mapping[str, Any], names: SequenceNames) -> list[bytes]:
    """Header pairs of a request to a stateful model.

    Returns:
        None of them when the parameters name no sequence: there is no ``sequence_id``, or it is
        0 or "".

    Raises:
        InvalidRequest: a parameter is of a wrong type.
    """
    sequence_id = parameters.get("sequence_id")
    if sequence_id is None or sequence_id in (0, ""):
        return []
    if type(sequence_id) not in (int, str):
        raise InvalidRequest("The parameter sequence_id must be a number or a text.")
    headers = [names.id.encode(), str(sequence_id).encode("utf-8", "replace")]
    for name, key in ((names.start, "sequence_start"), (names.end, "sequence_end")):
        value = parameters.get(key, False)
        if type(value) is not bool:
            raise InvalidRequest(f"The parameter {key} must be true or false.")
        if value:
            headers += [name.encode(), _TRUE]
    return headers


def alone(names: SequenceNames) -> list[bytes]:
    """Header pairs of a sequence that is over with its only request."""
    return [names.end.encode(), _TRUE]
