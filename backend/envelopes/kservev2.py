"""The ``kservev2`` envelope: Open Inference Protocol (KServe protocol, version 2)."""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from tsl.protocol.errors import InvalidInput, InvalidOutput, TslError
from tsl.protocol.tensors import check_count, check_datatype, check_name, check_names, raw_of

from ..classification import classes_asked, labels_of, ranked
from ..shared_memory import NO_REGIONS, Piece, Regions, place_output
from ..tensor_requests import requested_outputs
from .base import (
    BaseEnvelope,
    EntryPoint,
    Rows,
    list_member,
    parse_document,
    row_value,
    split_results,
)
from .tensors import flatten, reshape


class _Call(NamedTuple):
    """One request: its row in the batch, its id ("" if it has none), the names of its inputs.

    The rest is the shared memory that it may use, and the outputs that are to be there.
    """

    row: int
    request_id: str
    input_names: list[str]
    regions: Regions
    pieces: dict[str, Piece]


class KServev2Envelope(BaseEnvelope):
    """Input tensors in, output tensors out.

    The handler gets the list of inputs, each a dict with ``name``, ``shape``, ``datatype`` and
    ``data`` (nested lists; for the datatype ``BYTES`` the first element). A single request is
    answered with one output for each result. With several requests in a batch the inputs are
    joined, and the handler must return one result for each.

    ``context.input_names`` and, if the first request has an id, ``context.input_request_id``
    are set for the handler.
    """

    def __init__(self, handle_fn: EntryPoint) -> None:
        super().__init__(handle_fn)
        self._calls: list[_Call] = []
        self._classes: dict[int, dict[str, int]] = {}

    def parse_input(self, data: Rows) -> list[dict[str, Any]]:
        """The inputs of all rows, in order."""
        self._calls = []
        self._classes = {}
        joined: list[dict[str, Any]] = []
        for number, row in enumerate(data):
            try:
                document = parse_document(row_value(row))
                entries = list_member(document, "inputs")
                check_count(len(entries))
                if not entries:
                    raise InvalidInput("The request must have a list of inputs.")
                inputs = [_parse_tensor(each) for each in entries]
                check_names([each["name"] for each in inputs])
                if "outputs" in document:
                    requested_outputs(document)
                    self._classes[number] = classes_asked(document)
                regions = getattr(row, "regions", NO_REGIONS)
                pieces = regions.pieces(document) if regions is not NO_REGIONS else {}
            except TslError as error:
                self.refuse(number, error)
            else:
                request_id = str(document.get("id") or "").strip()
                names = [each["name"] for each in inputs]
                self._calls.append(_Call(number, request_id, names, regions, pieces))
                joined += inputs
        if self._calls:
            self._tell_handler(self._calls[0])
        return joined

    def _sizes(self) -> list[int]:
        return [len(call.input_names) for call in self._calls]

    def _tell_handler(self, first: _Call) -> None:
        # A context takes any attribute of its users' choice; setattr says so to readers.
        state = vars(self.context)
        state["input_names"] = first.input_names
        state.pop("input_request_id", None)
        if first.request_id:
            state["input_request_id"] = first.request_id

    def format_output(self, data: Any) -> list[dict[str, Any] | TslError]:
        """One answer document for each row; an error in the place of one that cannot be sent.

        Raises:
            InvalidOutput: the results are no list, or cannot be told apart by request.
        """
        if not isinstance(data, list | tuple) and not hasattr(data, "tolist"):
            msg = "The handler must return a list of output tensors."
            raise InvalidOutput(msg)
        if len(self._calls) == 1:
            return [self._answer(self._calls[0], list(data))]
        shares = split_results(data, self._sizes())
        return [self._answer(*pair) for pair in zip(self._calls, shares, strict=True)]

    def _answer(self, call: _Call, results: list[Any]) -> dict[str, Any] | TslError:
        try:
            document = self._document(call, results)
            self._place(call, document["outputs"])
        except TslError as error:
            return error
        return document

    def _place(self, call: _Call, outputs: list[dict[str, Any]]) -> None:
        """Move the values of outputs to shared memory."""
        by_name = {output["name"]: output for output in outputs}
        for name, piece in call.pieces.items():
            if name not in by_name:
                msg = f"The model has no output {name!r}; it has {', '.join(by_name)}."
                raise InvalidInput(msg)
            output = by_name[name]
            raw = _raw(name, output["datatype"], output.pop("data"))
            output["parameters"] = place_output(self.context, call.row, call.regions, piece, raw)

    def _document(self, call: _Call, results: list[Any]) -> dict[str, Any]:
        manifest = self.context.manifest or {}
        model = manifest.get("model") or {}
        return {
            "id": call.request_id or self.context.get_request_id(call.row),
            "model_name": model.get("modelName") or self.context.model_name,
            "model_version": model.get("modelVersion") or "1.0",
            "outputs": [
                self._output(call, _output_name(call, index), result)
                for index, result in enumerate(results)
            ],
        }

    def _output(self, call: _Call, name: str, result: Any) -> dict[str, Any]:
        """One output: the values, or the best classes where the request asks for them."""
        count = self._classes.get(call.row, {}).get(name)
        if not count:
            return _output(name, result)
        model_dir = str(self.context.system_properties.get("model_dir"))
        labels = labels_of(model_dir, self.context.model_yaml_config, name)
        best = ranked(result.tolist() if hasattr(result, "tolist") else result, count, labels)
        if best is None:
            msg = f"Output {name!r} has no scores that could be ranked; ask for it as it is."
            raise InvalidInput(msg)
        return {"name": name, "datatype": "BYTES", "data": best[0], "shape": best[1]}


def _parse_tensor(tensor: Any) -> dict[str, Any]:
    if not isinstance(tensor, dict):
        msg = "Each input must be a JSON object with name, shape, datatype and data."
        raise InvalidInput(msg)
    if isinstance(tensor.get("name"), int):
        tensor["name"] = str(tensor["name"])
    name, data = check_name(tensor.get("name")), tensor.get("data")
    missing = [key for key in ("shape", "datatype", "data") if key not in tensor]
    if missing:
        msg = f"Input {name!r} lacks {', '.join(missing)}."
        raise InvalidInput(msg)
    check_datatype(name, tensor["datatype"])
    if not isinstance(data, list):
        msg = f"The data of input {name!r} must be a list."
        raise InvalidInput(msg)
    if tensor["datatype"] != "BYTES":
        value = reshape(data, tensor["shape"], name)
    elif data:
        value = data[0]
    else:
        msg = f"The data of input {name!r} is empty."
        raise InvalidInput(msg)
    return {
        "name": name,
        "shape": tensor["shape"],
        "datatype": tensor["datatype"],
        "data": value,
    }


def _output_name(call: _Call, index: int) -> str:
    names = call.input_names
    return names[index] if index < len(names) else f"output-{index}"


def _output(name: str, result: Any) -> dict[str, Any]:
    values, datatype = flatten(result)
    return {"name": name, "datatype": datatype, "data": values, "shape": [len(values)]}


def _raw(name: str, datatype: str, values: list[Any]) -> bytes:
    """The bytes of an output; an element of ``BYTES`` that is no text is written as JSON."""
    try:
        if datatype == "BYTES":
            texts = (each if isinstance(each, str) else json.dumps(each) for each in values)
            values = [text.encode("utf-8", "replace") for text in texts]
        return raw_of(datatype, values)
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise InvalidOutput(f"Output {name!r} has values that are no {datatype}.") from error
