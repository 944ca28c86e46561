"""Tensors of the Open Inference Protocol as bytes and as Python values; no numpy.

Bytes are little-endian and row-major. A ``BOOL`` is one byte; an element of ``BYTES`` is its size
(four bytes) and its content. ``FP16`` and ``BF16`` have two bytes. Front end and back end both
use this: the former for gRPC's typed contents, the latter for models that want JSON.

Sizes are checked before anything of that size is made, so a shape cannot cost memory.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

from .errors import InvalidInput
from .frames import Buffer

TENSORS_TYPE: Final = "application/octet-stream"
"""Content type of a part that holds tensors' bytes, for a model that takes tensors."""
INLINE_TYPE: Final = "application/x-tsl-tensors"
"""The same for a model that takes JSON: the worker puts the values into the document."""
INLINE_BASE64_TYPE: Final = "application/x-tsl-tensors-base64"
"""As `INLINE_TYPE`, with base64 for ``BYTES``: what TorchServe's gRPC service does."""
TENSORS_PART: Final = "tensors"
"""Name of such a part."""
FRAMED: Final = "tensors_framed"
"""Property of a row whose answers are to be framed (`frame`, `unframe`)."""

MAX_RANK: Final = 32
MAX_ELEMENTS: Final = 2**31 - 1
MAX_TENSORS: Final = 4096
"""Inputs of a request, and outputs that it may ask for."""
MAX_NAME: Final = 255
"""Characters of a tensor's name: errors repeat it, and gRPC sends their text in a bounded trailer."""

_CODES: Final = {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP32": "f",
    "FP64": "d",
}
ITEM_SIZES: Final = {
    "BOOL": 1,
    "FP16": 2,
    "BF16": 2,
    **{name: array(code).itemsize for name, code in _CODES.items()},
}
"""Bytes of one element; ``BYTES`` has no fixed size."""
DATATYPES: Final = (*ITEM_SIZES, "BYTES")

_LENGTH: Final = struct.Struct("<I")
_FRAME: Final = struct.Struct("<IQ")


def count_of(name: str, datatype: Any, shape: Any, kind: str = "Input") -> int:
    """Number of elements that a tensor declares.

    Args:
        name: of the tensor, for messages.
        datatype: as the client wrote it.
        shape: as the client wrote it.
        kind: what the tensor is, for messages.

    Raises:
        InvalidInput: there is no such data type, or the shape is none.
    """
    check_datatype(name, datatype, kind)
    if isinstance(shape, str | bytes) or not isinstance(shape, Sequence) or len(shape) > MAX_RANK:
        msg = f"The shape of {kind.lower()} {name!r} must be a list of up to {MAX_RANK} sizes."
        raise InvalidInput(msg)
    count, bound = 1, 1
    for size in shape:
        if type(size) is not int or size < 0:
            msg = f"The shape of {kind.lower()} {name!r} must be a list of sizes from 0 up."
            raise InvalidInput(msg)
        count *= size
        bound *= size or 1
        if bound > MAX_ELEMENTS:
            msg = f"The shape of {kind.lower()} {name!r} asks for more than {MAX_ELEMENTS} values."
            raise InvalidInput(msg)
    return count


def check_name(name: Any, kind: str = "input") -> str:
    """The name of a tensor, if it is one.

    Args:
        name: as the client wrote it.
        kind: what the tensor is, for messages.

    Raises:
        InvalidInput: it is no text, or too long to be repeated.
    """
    if not isinstance(name, str):
        raise InvalidInput(f"Each {kind} must have a name.")
    if len(name) > MAX_NAME:
        msg = f"The name of {kind} {name[:32]!r}... has {len(name)} characters; the limit is "
        raise InvalidInput(f"{msg}{MAX_NAME}.")
    return name


def check_names(names: Sequence[str]) -> None:
    """Make sure that each input of a request has a name of its own.

    Raises:
        InvalidInput: two have the same.
    """
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InvalidInput(f"There are two inputs {twice!r}.")


def check_count(count: int, kind: str = "inputs") -> None:
    """Bound the number of tensors.

    Raises:
        InvalidInput: there are too many.
    """
    if count > MAX_TENSORS:
        raise InvalidInput(f"The request has {count} {kind}; the limit is {MAX_TENSORS}.")


def check_datatype(name: str, datatype: Any, kind: str = "Input") -> None:
    """Make sure that a data type is one.

    Args:
        name: of the tensor, for messages.
        datatype: as the client wrote it.
        kind: what the tensor is, for messages.

    Raises:
        InvalidInput: there is no such data type.
    """
    if isinstance(datatype, str) and datatype in DATATYPES:
        return
    shown = f" {datatype[:20]!r}" if isinstance(datatype, str) else ""
    msg = f"{kind} {name!r} has the datatype{shown}, which does not exist."
    raise InvalidInput(msg, hint=f"There are {', '.join(DATATYPES)}.")


def check_size(name: str, datatype: str, count: int, raw: Buffer) -> None:
    """Compare a tensor's bytes with what it declares; ``BYTES`` is left to `split_bytes`.

    Raises:
        InvalidInput: the number of bytes is another one.
    """
    if datatype == "BYTES":
        return
    expected = count * ITEM_SIZES[datatype]
    if len(raw) != expected:
        msg = f"Input {name!r} has {len(raw)} bytes; its shape and datatype {datatype} ask for "
        raise InvalidInput(f"{msg}{expected}.")


def split_bytes(name: str, count: int, raw: Buffer) -> list[bytes]:
    """The elements of a ``BYTES`` tensor.

    Raises:
        InvalidInput: there are not so many, or the last one is not complete.
    """
    view = memoryview(raw)
    items: list[bytes] = []
    at, end = 0, len(view)
    while at < end:
        if len(items) == count or end - at < _LENGTH.size:
            break
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(view, at)[0]
        if at > end:
            break
        items.append(bytes(view[start:at]))
    if at != end or len(items) != count:
        msg = f"Input {name!r} does not hold {count} elements of BYTES, each behind its size."
        raise InvalidInput(msg)
    return items


def join_bytes(items: Iterable[bytes]) -> bytes:
    """The bytes of a ``BYTES`` tensor."""
    return b"".join(chain.from_iterable((_LENGTH.pack(len(item)), item) for item in items))


def values_of(name: str, datatype: str, count: int, raw: Buffer) -> list[Any]:
    """The elements of a tensor as Python values: bool, int, float or bytes.

    Raises:
        InvalidInput: the bytes are not what the tensor declares.
    """
    if datatype == "BYTES":
        return split_bytes(name, count, raw)
    check_size(name, datatype, count, raw)
    if datatype == "BOOL":
        return [value != 0 for value in bytes(raw)]
    if datatype == "FP16":
        return list(struct.unpack(f"<{count}e", raw))
    if datatype == "BF16":
        halves = _array("H", raw)
        wide = array("I", [half << 16 for half in halves])
        return memoryview(wide).cast("B").cast("f").tolist()
    return _array(_CODES[datatype], raw).tolist()


def raw_of(datatype: str, values: Sequence[Any]) -> bytes:
    """The bytes of a tensor.

    Args:
        datatype: of the tensor.
        values: bool, int, float or, for ``BYTES``, bytes.

    Raises:
        TypeError, OverflowError: a value is none of this data type.
    """
    if datatype == "BYTES":
        return join_bytes(values)
    if datatype == "BOOL":
        return bytes(map(bool, values))
    if datatype == "FP16":
        return struct.pack(f"<{len(values)}e", *values)
    if datatype == "BF16":
        return _in_order(array("H", [_bfloat16(bits) for bits in _bits_of(values)]))
    return _in_order(array(_CODES[datatype], values))


def _bits_of(values: Sequence[Any]) -> list[int]:
    return memoryview(array("f", values)).cast("B").cast("I").tolist()


def _bfloat16(bits: int) -> int:
    """The upper half of a float, rounded to the nearest even one."""
    if bits & 0x7FFFFFFF > 0x7F800000:
        return bits >> 16 | 0x40  # not a number, and it stays none
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def _array(code: str, raw: Buffer) -> array[Any]:
    values: array[Any] = array(code)
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _in_order(values: array[Any]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def frame(header: bytes, segments: Sequence[Buffer]) -> bytes:
    """An answer that says where its JSON ends, for the way from a worker to the front end.

    Args:
        header: JSON document.
        segments: bytes of the tensors, in the order of the document.
    """
    size = sum(map(len, segments))
    return b"".join((_FRAME.pack(len(header), size), header, *segments))


def unframe(body: Buffer) -> tuple[memoryview, memoryview]:
    """The JSON document and the tensors' bytes of an answer.

    Raises:
        ValueError: it is not one framed answer.
    """
    view = memoryview(body)
    if len(view) < _FRAME.size:
        msg = "the answer is not framed"
        raise ValueError(msg)
    header_size, size = _FRAME.unpack_from(view)
    start = _FRAME.size + header_size
    if len(view) != start + size:
        msg = "the answer is not one framed answer"
        raise ValueError(msg)
    return view[_FRAME.size : start], view[start:]
