"""JSON with an indent of two: what ``json.dumps(value, indent=2)`` writes, byte for byte, but quicker.

The standard library has its encoder in C for text on one line only. A list or dict that holds no others is
written by that encoder all the same, with separators that contain the line break and the indent. What
is around these is put together here. Values of any other type than JSON's own, and nesting that may
have no end, are left to the standard library.
"""

from __future__ import annotations

import contextlib
import json
import json.encoder
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final

_INDENT: Final = 2
_MAX_LEVEL: Final = 64
"""Deeper values are left to the standard library, which knows a circle when it sees one."""
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

_by_the_book: Final = json.JSONEncoder(indent=_INDENT).encode


class _Unusual(Exception):
    """A value that the standard library has to write."""


def to_json(value: Any) -> str:
    """Write a value.

    Args:
        value: of any type.

    Raises:
        TypeError: it, or what it contains, has no form in JSON.
        ValueError: it contains itself.
        RecursionError: it is too deep.
    """
    with contextlib.suppress(_Unusual):
        return _write(value, 0)
    return _by_the_book(value)


def _write(value: Any, level: int) -> str:
    """Write a value whose first line is indented already, by so many levels."""
    kind = type(value)
    if kind in _SCALARS:
        return _write_scalar(value)
    if kind is list or kind is tuple:
        return _write_list(value, level + 1)
    if kind is dict:
        return _write_dict(value, level + 1)
    raise _Unusual


def _write_list(values: list[Any] | tuple[Any, ...], level: int) -> str:
    if not values:
        return "[]"
    inner, outer, write_flat = _layout(level)
    if _SCALARS.issuperset(map(type, values)):
        return f"[{inner}{write_flat(values)[1:-1]}{outer}]"
    items = f",{inner}".join([_write(value, level) for value in values])
    return f"[{inner}{items}{outer}]"


def _write_dict(values: dict[Any, Any], level: int) -> str:
    if not values:
        return "{}"
    inner, outer, write_flat = _layout(level)
    if not _SCALARS.issuperset(map(type, values)):
        raise _Unusual
    if _SCALARS.issuperset(map(type, values.values())):
        return f"{{{inner}{write_flat(values)[1:-1]}{outer}}}"
    if any(type(key) is not str for key in values):
        raise _Unusual
    items = f",{inner}".join(
        [f"{encode_basestring_ascii(key)}: {_write(each, level)}" for key, each in values.items()]
    )
    return f"{{{inner}{items}{outer}}}"


def _flat_writer(item_separator: str) -> Callable[[Any], str]:
    """The encoder in C, for scalars and for containers of scalars that are not empty.

    ``JSONEncoder.encode`` makes a new one for each value, which takes longer than a small dict.
    """
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without it
        return json.JSONEncoder(separators=(item_separator, ": ")).encode
    # No markers (there are no circles), no default, no indent, keys not sorted, none skipped, NaN.
    encode = make(
        None, None, encode_basestring_ascii, None, ": ", item_separator, False, False, True
    )
    return lambda value: "".join(encode(value, 0))


_write_scalar: Final = _flat_writer(",")


@lru_cache(maxsize=_MAX_LEVEL)
def _layout(level: int) -> tuple[str, str, Callable[[Any], str]]:
    """What stands before an item, what before the end, and what writes items that are scalars.

    Args:
        level: containers around an item.
    """
    if level > _MAX_LEVEL:
        raise _Unusual
    inner = "\n" + " " * (_INDENT * level)
    outer = "\n" + " " * (_INDENT * (level - 1))
    return inner, outer, _flat_writer("," + inner)
