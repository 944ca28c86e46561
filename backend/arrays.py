"""Tensors of the Open Inference Protocol as numpy arrays, both ways.

The only file that knows both. Bytes become arrays without a copy wherever their address allows
it. ``BYTES`` are arrays of objects, each `bytes`. numpy has no bfloat16: a ``BF16`` input is an
array of float32 with exactly the same values.
"""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from operator import countOf
from typing import Any, Final, NamedTuple

import numpy as np

from tsl.protocol.errors import InvalidInput, InvalidOutput
from tsl.protocol.frames import Buffer
from tsl.protocol.tensors import join_bytes, split_bytes, values_of

from .envelopes.tensors import flat_values
from .tensor_requests import InputTensor

Array = np.ndarray[Any, Any]

DTYPES: Final[dict[str, str]] = {
    "BOOL": "?",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
"""numpy's name of a data type; ``BYTES`` and ``BF16`` are not there."""

_NAMES: Final = {np.dtype(code): name for name, code in DTYPES.items()}
"""Data type of an array in the byte order of the protocol."""

_FLOATS: Final = {"FP16": "e", "FP32": "f", "FP64": "d"}
"""Codes of `struct`, which packs a list of floats in half the time that numpy takes to copy it."""

_INTEGERS: Final = tuple(name for name in DTYPES if "INT" in name)


class OutputTensor(NamedTuple):
    """One output, ready to be sent.

    Attributes:
        name: of the tensor.
        datatype: of the protocol.
        shape: sizes of the dimensions.
        raw: the values, shape ``(size,)`` bytes.
    """

    name: str
    datatype: str
    shape: list[int]
    raw: Buffer

    def values(self) -> list[Any] | Array:
        """The values for a JSON document, shape ``(size,)``.

        Floats are widened: JSON has the exact value of each, with all digits of a double.

        Raises:
            InvalidOutput: bytes that are not UTF-8 text.
        """
        if self.datatype == "BF16":
            return values_of(self.name, "BF16", len(self.raw) // 2, self.raw)
        if self.datatype != "BYTES":
            plain: Array = np.frombuffer(self.raw, DTYPES[self.datatype])
            return plain.astype("<f8") if self.datatype in ("FP16", "FP32") else plain
        try:
            count = int(np.prod(self.shape, dtype=np.int64))
            return [item.decode() for item in split_bytes(self.name, count, self.raw)]
        except UnicodeDecodeError as error:
            msg = f"Output {self.name!r} holds bytes that are not UTF-8 text."
            raise InvalidOutput(msg, hint="Ask for it as binary data.") from error


def array_of(tensor: InputTensor) -> Array:
    """An input as an array of its shape; it may be written to.

    Raises:
        InvalidInput: the values do not fit shape and data type.
    """
    if tensor.raw is None:
        return _from_values(tensor).reshape(tensor.shape)
    if tensor.datatype == "BYTES":
        return _objects(split_bytes(tensor.name, tensor.size, tensor.raw)).reshape(tensor.shape)
    if tensor.datatype == "BF16":
        halves = np.frombuffer(tensor.raw, "<u2")
        wide: Array = np.left_shift(halves.astype("<u4"), 16)
        return np.asarray(wide.view("<f4").reshape(tensor.shape))
    if tensor.datatype == "BOOL":
        numbers = np.frombuffer(tensor.raw, np.uint8)
        return np.asarray(numbers != 0).reshape(tensor.shape)
    array = np.frombuffer(tensor.raw, DTYPES[tensor.datatype]).reshape(tensor.shape)
    return array if array.flags.aligned and array.flags.writeable else array.copy()


def _objects(items: list[bytes]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _from_values(tensor: InputTensor) -> Array:
    name, datatype = tensor.name, tensor.datatype
    if not isinstance(tensor.data, list):
        raise InvalidInput(f"The data of input {name!r} must be a list.")
    code = _FLOATS.get(datatype)
    if code and countOf(map(type, tensor.data), float) == len(tensor.data) == tensor.size:
        with suppress(OverflowError):  # numpy makes an infinity of it
            packed = struct.pack(f"<{tensor.size}{code}", *tensor.data)
            return np.frombuffer(bytearray(packed), DTYPES[datatype])
    values, kinds = tensor.data, set(map(type, tensor.data))
    if list in kinds:
        values = flat_values(values, name)
        kinds = set(map(type, values))
    if len(values) != tensor.size:
        msg = f"Input {name!r} has {len(values)} values, but its shape {tensor.shape} asks for "
        raise InvalidInput(f"{msg}{tensor.size}.")
    if datatype == "BYTES":
        return _objects(_encoded(name, values, kinds))
    allowed: set[type] = {bool} if datatype == "BOOL" else {int}
    if datatype != "BOOL" and datatype not in _INTEGERS:
        allowed.add(float)
    if not kinds <= allowed:
        raise InvalidInput(f"The data of input {name!r} has values that are no {datatype}.")
    try:
        with np.errstate(over="ignore"):
            return np.fromiter(values, DTYPES.get(datatype, "<f4"), len(values))
    except OverflowError as error:
        msg = f"The data of input {name!r} has values that are out of the range of {datatype}."
        raise InvalidInput(msg) from error


def _encoded(name: str, values: list[Any], kinds: set[type]) -> list[bytes]:
    try:
        if kinds <= {str}:
            return [value.encode() for value in values]
    except UnicodeEncodeError as error:
        raise InvalidInput(f"The data of input {name!r} has text that is no Unicode.") from error
    raise InvalidInput(f"The data of input {name!r} has values that are no text.")


def output_of(name: str, value: Any, declared: str | None = None) -> OutputTensor:
    """What a handler returns under a name.

    Args:
        name: of the output.
        value: an array, a tensor of torch, or anything numpy makes an array of.
        declared: data type that ``outputs`` of model-config.yaml states; the values are made of
            this type if they are of its kind.

    Raises:
        InvalidOutput: the value has no data type of the protocol, or not the declared one.
    """
    if type(value) is np.ndarray and declared is None and value.flags.c_contiguous:
        plain = _NAMES.get(value.dtype)
        if plain is not None:  # the usual case
            return OutputTensor(name, plain, list(value.shape), _bytes_of(value))
    array, datatype = _as_array(name, value)
    shape = list(array.shape)
    if datatype is None:
        if declared == "BF16" and array.dtype.kind == "f":
            array, datatype = _bfloat16(array), "BF16"
        elif declared in DTYPES and array.dtype.kind not in "SUO":
            array, datatype = _cast(name, array, declared), declared
        else:
            datatype = _datatype(name, array)
    if declared is not None and datatype != declared:
        msg = f"Output {name!r} is {datatype}, but model-config.yaml declares {declared}."
        raise InvalidOutput(msg)
    if datatype == "BYTES":
        return OutputTensor(name, datatype, shape, join_bytes(_items(name, array)))
    ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return OutputTensor(name, datatype, shape, _bytes_of(ordered))


def _bytes_of(array: Array) -> Buffer:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data if array.size else b""


def _as_array(name: str, value: Any) -> tuple[Array, str | None]:
    """The array, and its data type if the array cannot tell."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:
            return value.contiguous().view(torch.int16).numpy().view("<u2"), "BF16"
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        msg = f"Output {name!r} is no array: its rows are not of equal length."
        raise InvalidOutput(msg) from error
    if array.dtype.name == "bfloat16":  # of the library ml_dtypes
        return array.view("<u2"), "BF16"
    return array, None


def _datatype(name: str, array: Array) -> str:
    kind, bits = array.dtype.kind, 8 * array.dtype.itemsize
    if kind in "SUO":
        return "BYTES"
    prefix = {"b": "BOOL", "i": f"INT{bits}", "u": f"UINT{bits}", "f": f"FP{bits}"}.get(kind)
    if prefix not in DTYPES:
        msg = f"Output {name!r} is an array of {array.dtype}, which the protocol does not have."
        raise InvalidOutput(msg)
    return prefix


def _cast(name: str, array: Array, datatype: str) -> Array:
    if not np.can_cast(array.dtype, DTYPES[datatype], "same_kind"):
        msg = f"Output {name!r} is {array.dtype}, but model-config.yaml declares {datatype}."
        raise InvalidOutput(msg)
    with np.errstate(over="ignore"):
        return array.astype(DTYPES[datatype], copy=False)


def _bfloat16(array: Array) -> Array:
    """The upper halves of float32 values, rounded to the nearest even one."""
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(array, "<f4").view("<u4")
    halves = ((bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16).astype("<u2")
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(is_nan, (bits >> 16 | 0x40).astype("<u2"), halves)


def _items(name: str, array: Array) -> list[bytes]:
    items = []
    for item in array.reshape(-1).tolist():
        if isinstance(item, str):
            items.append(item.encode("utf-8", "replace"))
        elif isinstance(item, bytes | bytearray | memoryview):
            items.append(bytes(item))
        else:
            msg = f"Output {name!r} holds a {type(item).__name__}; BYTES are bytes or text."
            raise InvalidOutput(msg)
    return items
