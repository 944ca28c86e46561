"""Messages of the Open Inference Protocol to parts of a row, and answers to messages.

Typed contents become the bytes that the worker gets, and those of its answer become typed
contents again, unless the client has sent bytes, or a data type has none. What is sent to a model
that takes JSON is what TorchServe sends to it: id, model name and inputs; beside that only outputs,
when classes of one are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tsl.protocol.errors import InvalidInput, InvalidOutput
from tsl.protocol.frames import Buffer, Part
from tsl.protocol.shared_memory import PARAMETERS, REGION
from tsl.protocol.tensors import (
    INLINE_BASE64_TYPE,
    TENSORS_PART,
    TENSORS_TYPE,
    check_count,
    check_name,
    check_names,
    check_size,
    count_of,
    raw_of,
    split_bytes,
    unframe,
    values_of,
)

from .protos.open_inference_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Data type to field; FP16 and BF16 have none."""
_MAX_NESTING: Final = 32
_FOR_ENVELOPES: Final = ("classification", REGION)
"""Parameters of an output that the envelope of a model of JSON acts on."""


def parts_of(request: ModelInferRequest, *, takes_tensors: bool) -> list[Part]:
    """What the worker gets.

    Args:
        request: the client's message.
        takes_tensors: whether the model takes tensors (``inputFormat``), or JSON.

    Raises:
        InvalidInput: a tensor is not valid; the message names it.
    """
    check_count(len(request.inputs))
    check_count(len(request.outputs), "outputs")
    for output in request.outputs:
        check_name(output.name, "output")
    raw = request.raw_input_contents
    of_bytes = [each for each in request.inputs if REGION not in each.parameters]
    if raw and len(raw) != len(of_bytes):
        msg = f"There are {len(of_bytes)} inputs and {len(raw)} raw_input_contents."
        raise InvalidInput(msg)
    inputs: list[dict[str, Any]] = []
    segments: list[bytes] = []
    for tensor in request.inputs:
        check_name(tensor.name)
        shape = list(tensor.shape)
        size = count_of(tensor.name, tensor.datatype, shape)
        parameters = parameter_values(tensor.parameters)
        is_shared = REGION in tensor.parameters
        if (raw or is_shared) and tensor.HasField("contents"):
            other = "shared memory" if is_shared else "raw_input_contents"
            raise InvalidInput(f"Input {tensor.name!r} has both contents and {other}.")
        if not takes_tensors:
            parameters = _only(parameters, PARAMETERS)
        if not is_shared:
            data = raw[len(segments)] if raw else _contents(tensor, size)
            check_size(tensor.name, tensor.datatype, size, data)
            if tensor.datatype == "BYTES" and raw:
                split_bytes(tensor.name, size, data)
            segments.append(data)
            parameters["binary_data_size"] = len(data)
        inputs.append(
            {
                "name": tensor.name,
                "shape": shape,
                "datatype": tensor.datatype,
                "parameters": parameters,
            }
        )
    check_names([each.name for each in request.inputs])
    document: dict[str, Any] = {"model_name": request.model_name}
    if not takes_tensors:  # else the answer gets it here, and documents are the same more often
        document = {"id": request.id, **document}
    outputs = [
        {"name": output.name, "parameters": parameter_values(output.parameters)}
        for output in request.outputs
        if takes_tensors or any(name in output.parameters for name in _FOR_ENVELOPES)
    ]
    if takes_tensors:
        document["parameters"] = parameter_values(request.parameters)
    if takes_tensors or outputs:
        document["outputs"] = outputs
    document["inputs"] = inputs
    content_type = TENSORS_TYPE if takes_tensors else INLINE_BASE64_TYPE
    header = Part("body", "application/json", json.dumps(document).encode("utf-8", "replace"))
    if not segments:
        segments = [b""]  # still marks the row as one of tensors
    return [header, *(Part(TENSORS_PART, content_type, segment) for segment in segments)]


def _contents(tensor: ModelInferRequest.InferInputTensor, size: int) -> bytes:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        msg = f"Input {tensor.name!r} is {tensor.datatype}, which has no typed contents."
        raise InvalidInput(msg, hint="Send raw_input_contents.")
    values = getattr(tensor.contents, field)
    if len(values) != size:
        msg = f"Input {tensor.name!r} has {len(values)} values in {field}; its shape asks for "
        raise InvalidInput(f"{msg}{size}.")
    try:
        return raw_of(tensor.datatype, values)
    except OverflowError as error:
        msg = f"Input {tensor.name!r} has values that are out of the range of {tensor.datatype}."
        raise InvalidInput(msg) from error


def parameter_values(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    """The values of a map of parameters."""
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values


def _only(parameters: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: parameters[name] for name in names if name in parameters}


def wants_raw(request: ModelInferRequest) -> bool:
    """Whether a client gets bytes: whether it has sent any, or has left all of it elsewhere."""
    if request.raw_input_contents:
        return True
    return all(REGION in each.parameters for each in request.inputs)


def set_parameters(target: Any, values: Mapping[str, Any]) -> None:
    """Fill a map of parameters; what is neither text, number nor boolean is left out."""
    for name, value in values.items():
        if isinstance(value, bool):
            target[name].bool_param = value
        elif isinstance(value, int) and -(2**63) <= value < 2**63:
            target[name].int64_param = value
        elif isinstance(value, float):
            target[name].double_param = value
        elif isinstance(value, str):
            target[name].string_param = value


def response_of(
    body: Buffer, *, is_framed: bool, wants_raw: bool, request_id: str, name: str, version: str
) -> ModelInferResponse:
    """The message for an answer.

    Args:
        body: of the worker's answer.
        is_framed: whether the model takes tensors; else the body is a JSON document.
        wants_raw: whether the client has sent bytes, and gets them.
        request_id: the client's.
        name: of the model.
        version: of the model.

    Raises:
        InvalidOutput: the answer is no answer of this protocol.
    """
    response = ModelInferResponse(model_name=name, model_version=version, id=request_id)
    try:
        document, rest = _read(body, is_framed=is_framed)
        entries = document["outputs"]
        is_raw = wants_raw or any(entry["datatype"] not in _CONTENTS for entry in entries)
        for entry in entries:
            rest = _add_output(response, entry, rest, wants_raw=is_raw)
        if not request_id:
            response.id = str(document.get("id") or "")
        set_parameters(response.parameters, document.get("parameters") or {})
    except (
        InvalidInput,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        AttributeError,
    ) as error:
        raise InvalidOutput(
            "The model's answer is none of the Open Inference Protocol.",
            hint="A model that streams is called with ModelStreamInfer; others need "
            "inputFormat: tensors, or service_envelope=kservev2.",
        ) from error
    return response


def _read(body: Buffer, *, is_framed: bool) -> tuple[dict[str, Any], memoryview]:
    header, rest = unframe(body) if is_framed else (memoryview(body), memoryview(b""))
    document = json.loads(str(header, "utf-8"))
    if not isinstance(document, dict):
        msg = "no JSON object"
        raise TypeError(msg)
    return document, rest


def _add_output(
    response: ModelInferResponse, entry: dict[str, Any], rest: memoryview, *, wants_raw: bool
) -> memoryview:
    """Add an output; returns the bytes of the outputs behind it."""
    name, datatype, shape = str(entry["name"]), entry["datatype"], entry["shape"]
    size = count_of(name, datatype, shape, "Output")
    output = response.outputs.add(name=name, datatype=datatype, shape=shape)
    parameters = dict(entry.get("parameters") or {})
    length = parameters.pop("binary_data_size", None)
    set_parameters(output.parameters, parameters)
    if REGION in parameters:
        if wants_raw:
            response.raw_output_contents.append(b"")  # they are counted
        return rest
    if length is not None:
        raw, rest = rest[:length], rest[length:]
        if wants_raw:
            response.raw_output_contents.append(bytes(raw))
        else:
            _fill(output, datatype, values_of(name, datatype, size, raw))
        return rest
    values = _flat(entry["data"])
    if len(values) != size:
        msg = f"output {name!r} has {len(values)} values for the shape {shape}"
        raise ValueError(msg)
    if datatype == "BYTES":
        values = [_bytes(value) for value in values]
    if wants_raw:
        response.raw_output_contents.append(raw_of(datatype, values))
    else:
        _fill(output, datatype, values)
    return rest


def _fill(output: Any, datatype: str, values: Sequence[Any]) -> None:
    getattr(output.contents, _CONTENTS[datatype]).extend(values)


def _flat(values: Any) -> list[Any]:
    if not isinstance(values, list):
        return [values]
    for _ in range(_MAX_NESTING):
        if not any(isinstance(value, list) for value in values):
            return list(values)
        values = [
            item for value in values for item in (value if isinstance(value, list) else [value])
        ]
    msg = "nested too deeply"
    raise ValueError(msg)


def _bytes(value: Any) -> bytes:
    """An element of BYTES: text as it is, anything else as JSON."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace")
