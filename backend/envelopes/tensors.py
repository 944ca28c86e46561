"""Tensors of the Open Inference Protocol without numpy: shapes, flattening, data types.

Tensors of this protocol travel as JSON lists, so pure Python is quicker for ordinary requests
than importing and filling arrays. Arrays that handlers return (numpy, torch) are recognised by
their ``dtype`` and ``tolist``.
"""

from __future__ import annotations

import math
from itertools import accumulate
from operator import mul
from typing import Any, Final

from tsl.protocol.errors import InvalidInput, InvalidOutput
from tsl.protocol.tensors import MAX_ELEMENTS

_MAX_RANK: Final = 64
"""As many dimensions as numpy has."""

_MAX_LISTS: Final = 65_536
"""Shapes such as (1000000000, 0) hold no value, but would build that many lists; (1000000, 1, 1, …)
many for each value."""

_NUMBERS: Final = {bool, int, float}

_DATATYPES: Final = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    **{
        f"{sign}int{bits}": f"{sign}INT{bits}".upper()
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}
"""Name of an array's dtype to name in the protocol; anything else is BYTES."""


def reshape(data: list[Any], shape: Any, name: str) -> Any:
    """Arrange values in nested lists.

    Args:
        data: the values, flat or nested in any way, in row-major order.
        shape: sizes of the dimensions; one may be -1, "whatever is left".
        name: name of the tensor, for messages.

    Returns:
        Nested lists of ``len(shape)`` levels; for the shape ``[]`` the value itself.

    Raises:
        InvalidInput: a value is no number, the shape is none, or does not fit the number of
            values.
    """
    values = flat_values(data, name)
    if not set(map(type, values)) <= _NUMBERS:
        raise InvalidInput(f"The data of input {name!r} has values that are no numbers.")
    sizes = _sizes(shape, len(values), name)
    count = math.prod(sizes)
    if count != len(values):
        if count > MAX_ELEMENTS:
            raise InvalidInput(f"The shape of input {name!r} asks for too many values.")
        msg = f"Input {name!r} has {len(values)} values, but its shape {shape} asks for {count}."
        raise InvalidInput(msg)
    if not sizes:
        return values[0]
    if not values:
        return _empty(sizes, name)
    if sum(accumulate(sizes[:-1], mul)) > _MAX_LISTS + 2 * len(values):
        raise InvalidInput(f"The shape of input {name!r} has too many dimensions for its values.")
    for size in reversed(sizes[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)]
    return values


def flat_values(data: list[Any], name: str) -> list[Any]:
    """The values of nested lists, in order.

    Args:
        data: lists in lists, and values, in any mixture.
        name: name of the tensor, for messages.

    Raises:
        InvalidInput: the lists are nested too deeply.
    """
    for _ in range(_MAX_RANK):
        if not any(isinstance(value, list) for value in data):
            return data
        deeper: list[Any] = []
        for value in data:
            if isinstance(value, list):
                deeper += value
            else:
                deeper.append(value)
        data = deeper
    msg = f"The data of input {name!r} is nested more than {_MAX_RANK} levels deep."
    raise InvalidInput(msg)


def _sizes(shape: Any, count: int, name: str) -> list[int]:
    ok = isinstance(shape, list) and len(shape) <= _MAX_RANK
    if not ok or not all(type(size) is int and size >= -1 for size in shape) or shape.count(-1) > 1:
        msg = f"The shape of input {name!r} must be a list of sizes, such as [1, 3]."
        raise InvalidInput(msg)
    if any(size > MAX_ELEMENTS for size in shape):
        raise InvalidInput(f"The shape of input {name!r} asks for too many values.")
    if -1 not in shape:
        return list(shape)
    known = math.prod(size for size in shape if size != -1)
    rest = count // known if known else 0
    return [rest if size == -1 else size for size in shape]


def _empty(sizes: list[int], name: str) -> list[Any]:
    before_zero = sizes[: sizes.index(0)]
    if math.prod(before_zero) > _MAX_LISTS:
        msg = f"Input {name!r} has no values and too large a shape."
        raise InvalidInput(msg)
    values: list[Any] = []
    for size in reversed(before_zero):
        values = [list(values) for _ in range(size)]
    return values


def flatten(result: Any) -> tuple[list[Any], str]:
    """Turn one result of a handler into the flat list and the data type that are answered.

    Args:
        result: a value, nested lists of values, or an array.

    Returns:
        The values, of one Python type, and the name of their data type. Numbers of different
        kinds become the widest one, numbers beside text become text.

    Raises:
        InvalidOutput: bytes that are not UTF-8 text.
    """
    leaves: list[Any] = []
    dtypes: set[str] = set()
    _collect(result, leaves, dtypes)
    if len(dtypes) == 1:
        datatype = _DATATYPES.get(next(iter(dtypes)), "BYTES")
        if datatype != "BYTES":
            return leaves, datatype
    return _unify(leaves)


def _collect(value: Any, leaves: list[Any], dtypes: set[str]) -> None:
    if isinstance(value, list | tuple):
        for item in value:
            _collect(item, leaves, dtypes)
    elif hasattr(value, "dtype") and hasattr(value, "tolist"):
        plain = value.tolist()
        dtypes.add(str(value.dtype).rpartition(".")[2])
        _collect(plain, leaves, set())
    else:
        dtypes.add("python")
        leaves.append(value)


def _unify(leaves: list[Any]) -> tuple[list[Any], str]:
    kinds = {type(leaf) for leaf in leaves}
    if not kinds:
        return leaves, "FP64"  # what an empty array is
    if kinds == {bool}:
        return leaves, "BOOL"
    if kinds <= {bool, int}:
        return [int(leaf) for leaf in leaves], _integer_type(leaves)
    if kinds <= {bool, int, float}:
        return [float(leaf) for leaf in leaves], "FP64"
    if kinds <= {bool, int, float, str, bytes, bytearray}:
        return [_text(leaf) for leaf in leaves], "BYTES"
    return leaves, "BYTES"


def _integer_type(leaves: list[int]) -> str:
    if min(leaves) >= -(2**63) and max(leaves) < 2**63:
        return "INT64"
    return "UINT64" if min(leaves) >= 0 and max(leaves) < 2**64 else "BYTES"


def _text(value: Any) -> str:
    if not isinstance(value, bytes | bytearray):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        msg = "The handler returned bytes that are not UTF-8 text."
        raise InvalidOutput(msg, hint="Encode binary results as base64.") from error
