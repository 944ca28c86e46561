"""Requests of the Open Inference Protocol: the document, and the tensors it declares.

A tensor's values are in the document (``data``), or they are bytes behind it, and the document
says how many (``parameters.binary_data_size``), or in shared memory. Nothing here knows of arrays.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from tsl.protocol.errors import InvalidInput
from tsl.protocol.frames import Buffer, Row
from tsl.protocol.shared_memory import PARAMETERS, REGION
from tsl.protocol.tensors import (
    INLINE_BASE64_TYPE,
    INLINE_TYPE,
    TENSORS_PART,
    check_count,
    check_name,
    check_names,
    check_size,
    count_of,
    values_of,
)

from .shared_memory import NO_REGIONS, Regions

INLINE_TYPES: Final = (INLINE_TYPE, INLINE_BASE64_TYPE)


class InputTensor(NamedTuple):
    """One input.

    Attributes:
        name: unique in its request.
        datatype: one of `tsl.protocol.tensors.DATATYPES`.
        shape: sizes of the dimensions.
        size: their product.
        data: the values, nested or not; None when they are bytes.
        raw: the values as bytes; None when they are in ``data``.
    """

    name: str
    datatype: str
    shape: list[int]
    size: int
    data: Any
    raw: Buffer | None


class DeclaredInput(NamedTuple):
    """What a document says of one input.

    Attributes:
        name: unique in its request.
        datatype: one of `tsl.protocol.tensors.DATATYPES`.
        shape: sizes of the dimensions; never changed.
        size: their product.
        data: the values, if they are here.
        byte_size: how many bytes they are, if they come behind the document.
        region: parameters that say where they are in shared memory, if they are there.
    """

    name: str
    datatype: str
    shape: list[int]
    size: int
    data: Any
    byte_size: int | None
    region: dict[str, Any] | None


def parse_inputs(
    document: dict[str, Any], segments: Sequence[Buffer], regions: Regions = NO_REGIONS
) -> list[InputTensor]:
    """The inputs of a request.

    Args:
        document: the JSON object of the request.
        segments: what came behind it; an input lies in one of them, as a whole.
        regions: shared memory that the request may use.

    Raises:
        InvalidInput: an input is not valid, asks for something that is not there, or the bytes
            do not fit the document.
    """
    return fill_inputs(declared_inputs(document), segments, regions)


def declared_inputs(document: dict[str, Any]) -> list[DeclaredInput]:
    """What a document says of its inputs, without the bytes of any.

    Raises:
        InvalidInput: an input is not valid, or two have the same name.
    """
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput("The request must have a list of inputs.")
    check_count(len(inputs))
    declared = [_declared(each) for each in inputs]
    if len(declared) > 1:
        check_names([each.name for each in declared])
    return declared


def fill_inputs(
    declared: Sequence[DeclaredInput], segments: Sequence[Buffer], regions: Regions = NO_REGIONS
) -> list[InputTensor]:
    """Give declared inputs their bytes.

    Args:
        declared: by `declared_inputs`.
        segments: what came behind the document; an input lies in one of them, as a whole.
        regions: shared memory that the request may use.

    Raises:
        InvalidInput: the bytes do not fit what is declared.
    """
    if len(declared) == len(segments) == 1:
        name, datatype, shape, size, _, byte_size, _ = declared[0]
        raw = segments[0]
        if byte_size == len(raw):  # the usual case
            check_size(name, datatype, size, raw)
            return [InputTensor(name, datatype, shape, size, None, raw)]
    source = _Segments(segments)
    tensors = [_filled(each, source, regions) for each in declared]
    source.check_end()
    return tensors


class _Segments:
    def __init__(self, segments: Sequence[Buffer]) -> None:
        self._views = [memoryview(segment) for segment in segments if len(segment)]
        self._views.reverse()

    def take(self, size: int, name: str) -> memoryview:
        if not size:
            return memoryview(b"")
        if not self._views or len(self._views[-1]) < size:
            msg = f"Input {name!r} announces {size} bytes, but the request ends before."
            raise InvalidInput(msg)
        view = self._views.pop()
        if len(view) > size:
            self._views.append(view[size:])
        return view[:size]

    def check_end(self) -> None:
        if self._views:
            rest = sum(map(len, self._views))
            raise InvalidInput(f"The request has {rest} more bytes than its inputs announce.")


def _declared(entry: Any) -> DeclaredInput:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InvalidInput("Each input must be a JSON object with name, shape and datatype.")
    name, datatype, shape = entry["name"], entry.get("datatype"), entry.get("shape")
    check_name(name)
    count = count_of(name, datatype, shape)
    sizes, kind = list(shape or ()), str(datatype)
    parameters = entry.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidInput(f"The parameters of input {name!r} must be a JSON object.")
    size = parameters.get("binary_data_size")
    if REGION in parameters:
        if "data" in entry or "binary_data_size" in parameters:
            raise InvalidInput(f"Input {name!r} has values in shared memory and others, too.")
        return DeclaredInput(name, kind, sizes, count, None, None, parameters)
    if size is None:
        if "data" not in entry:
            raise InvalidInput(f"Input {name!r} has neither data nor binary_data_size.")
        return DeclaredInput(name, kind, sizes, count, entry["data"], None, None)
    if "data" in entry:
        raise InvalidInput(f"Input {name!r} has both data and binary_data_size.")
    if type(size) is not int or size < 0:
        raise InvalidInput(f"binary_data_size of input {name!r} must be a number from 0 up.")
    return DeclaredInput(name, kind, sizes, count, None, size, None)


def _filled(declared: DeclaredInput, source: _Segments, regions: Regions) -> InputTensor:
    name, datatype, shape, size, data, byte_size, region = declared
    raw: Buffer
    if region is not None:
        raw = regions.read(name, region)
    elif byte_size is not None:
        raw = source.take(byte_size, name)
    else:
        return InputTensor(name, datatype, shape, size, data, None)
    check_size(name, datatype, size, raw)
    return InputTensor(name, datatype, shape, size, None, raw)


def requested_outputs(document: dict[str, Any]) -> tuple[list[str], Callable[[str], bool]]:
    """What a request says about outputs.

    Returns:
        The names it asks for, none for all of them; and whether it wants an output as bytes.

    Raises:
        InvalidInput: ``outputs`` or ``parameters`` is not what it should be, or asks for
            something that is not there.
    """
    parameters = document.get("parameters") or {}
    outputs = document.get("outputs") or []
    if not isinstance(parameters, dict):
        raise InvalidInput("The parameters of the request must be a JSON object.")
    if not isinstance(outputs, list):
        raise InvalidInput("The outputs of the request must be a list.")
    check_count(len(outputs), "outputs")
    default = parameters.get("binary_data_output") is True
    wanted: dict[str, bool] = {}
    for entry in outputs:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidInput("Each requested output must be a JSON object with a name.")
        check_name(entry["name"], "output")
        own = entry.get("parameters") or {}
        if not isinstance(own, dict):
            raise InvalidInput(f"The parameters of output {entry['name']!r} must be an object.")
        wanted[entry["name"]] = own.get("binary_data", default) is True
    return list(wanted), lambda name: wanted.get(name, default)


def inline_row(row: Row, regions: Regions, *, decode_input: bool) -> dict[str, Any] | bytearray:
    """The document of a request with the values of all tensors in it, as for a JSON client.

    Args:
        row: its first part is the document, the others are tensors' bytes.
        regions: shared memory that it may use.
        decode_input: False for the document as JSON text.

    Raises:
        InvalidInput: the request is not valid.
    """
    try:
        document = json.loads(str(row.parts[0].body, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The request's header is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput("The request's header must be a JSON object.")
    parts = row.parts[1:]
    as_text = _base64_text if parts[0].content_type == INLINE_BASE64_TYPE else _utf8_text
    segments = [part.body for part in parts if part.name == TENSORS_PART]
    inputs = parse_inputs(document, segments, regions)
    regions.pieces(document)  # before the model runs
    for entry, tensor in zip(document["inputs"], inputs, strict=True):
        if tensor.raw is None:
            continue
        values = values_of(tensor.name, tensor.datatype, tensor.size, tensor.raw)
        if tensor.datatype == "BYTES":
            values = [as_text(tensor.name, value) for value in values]
        entry["data"] = values
        for key in ("binary_data_size", *PARAMETERS):
            entry["parameters"].pop(key, None)
        if not entry["parameters"]:
            del entry["parameters"]
    return document if decode_input else bytearray(json.dumps(document).encode())


def _base64_text(name: str, value: bytes) -> str:
    del name
    return base64.b64encode(value).decode("ascii")


def _utf8_text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        msg = f"Input {name!r} holds bytes that are not UTF-8 text."
        raise InvalidInput(msg, hint="This model takes JSON; encode binary as base64.") from error
