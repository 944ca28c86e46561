"""The fields of a frame that came from another process: types are checked, then there is a frame.

What is checked is what `frames` declares: the hints of a frame's fields choose the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_type_hints

from .errors import ProtocolError
from .frames import FRAME_TYPES, Chunk, Frame, MetricRecord, Pairs, Predict, Result


def check_pairs(pairs: object, kind: type[object]) -> None:
    """Make sure that a field is a list of an even number of such items.

    Raises:
        ProtocolError: it is not.
    """
    if type(pairs) is not list or len(pairs) % 2:
        raise ProtocolError("pairs are not a list of even length")
    for item in pairs:
        if type(item) is not kind:
            msg = f"{type(item).__name__} where {kind.__name__} belongs"
            raise ProtocolError(msg)


def decode_plain(number: int, fields: list[Any]) -> Frame:
    """A frame without rows or bodies.

    Args:
        number: of its type.
        fields: the header, with that number in front.

    Raises:
        ProtocolError: it does not have these fields.
    """
    cls, checks = _PLAIN[number]
    if len(fields) != len(checks) + 1:
        msg = f"{cls.__name__} frame with {len(fields) - 1} fields"
        raise ProtocolError(msg)
    values = [check(value) for check, value in zip(checks, fields[1:], strict=True)]
    frame: Frame = cls(*values)
    return frame


def _scalar(kind: type[Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            msg = f"{type(value).__name__} where {kind.__name__} belongs"
            raise ProtocolError(msg)
        return value

    return check


def _number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        msg = f"{type(value).__name__} where a number belongs"
        raise ProtocolError(msg)
    return float(value)


def _texts(value: Any) -> list[str]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise ProtocolError("not a list of texts")
    return value


def _pairs(value: Any) -> list[str]:
    check_pairs(value, str)
    pairs: list[str] = value
    return pairs


def _records(value: Any) -> list[MetricRecord]:
    if type(value) is not list:
        raise ProtocolError("not a list of metric records")
    return [
        MetricRecord(*(check(item) for check, item in zip(_RECORD, record, strict=True)))
        for record in value
    ]


_CHECKS: Final[dict[Any, Callable[[Any], Any]]] = {
    int: _scalar(int),
    str: _scalar(str),
    bool: _scalar(bool),
    bytes: _scalar(bytes),
    float: _number,
    list[str]: _texts,
    Pairs: _pairs,
    list[MetricRecord]: _records,
}


def _checks_of(cls: type[Any]) -> list[Callable[[Any], Any]]:
    return [_CHECKS[hint] for hint in get_type_hints(cls, include_extras=True).values()]


_RECORD: Final = _checks_of(MetricRecord)

_PLAIN: Final[dict[int, tuple[type[Any], list[Callable[[Any], Any]]]]] = {
    number: (cls, _checks_of(cls))
    for number, cls in enumerate(FRAME_TYPES)
    if cls not in (Predict, Result, Chunk)
}
