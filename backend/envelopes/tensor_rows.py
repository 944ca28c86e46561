"""``inputFormat: tensors``: the Open Inference Protocol for handlers that work on arrays."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tsl.protocol.errors import InvalidInput, InvalidOutput, TslError
from tsl.protocol.frames import Buffer
from tsl.protocol.tensors import DATATYPES, TENSORS_PART, frame

from .. import json_text
from ..arrays import OutputTensor, array_of, output_of
from ..classification import labels_of
from ..ranking import classified, classified_by_name, scores_of
from ..request_documents import RequestDocuments, Wishes
from ..rows import RequestRow
from ..shared_memory import NO_REGIONS, Piece, Regions, place_output
from ..tensor_requests import fill_inputs
from .base import BaseEnvelope, EntryPoint, Rows

LENGTH_HEADER: Final = "Inference-Header-Content-Length"


_JSON: Final = ["content-type", "application/json"]
_BINARY: Final = ["content-type", "application/octet-stream"]


class _Call(NamedTuple):
    """One request: its row in the batch, and how it wants to be answered. It has no values."""

    row: int
    wishes: Wishes
    is_framed: bool
    regions: Regions
    pieces: dict[str, Piece]


class TensorRows(BaseEnvelope):
    """Arrays in, arrays out.

    The handler gets one dict of arrays by input name for each request, and returns one of arrays
    by output name. Intermediate answers are such dicts, too. ``context.input_parameters`` has the
    ``parameters`` of each request, in the same order.
    """

    def __init__(self, handle_fn: EntryPoint) -> None:
        super().__init__(handle_fn)
        self._calls: dict[int, _Call] = {}
        self._streamed: set[int] = set()
        self._documents = RequestDocuments()

    def parse_input(self, data: Rows) -> list[dict[str, Any]]:
        """The arrays of all rows that are valid."""
        self._calls = {}
        self._streamed = set()
        rows: list[dict[str, Any]] = []
        parameters: list[dict[str, Any]] = []
        for number, row in enumerate(data):
            segments, regions, is_framed = [], NO_REGIONS, False
            if len(row) > 1 and isinstance(row, RequestRow):  # there is more than a document
                segments, regions = row.getlist(TENSORS_PART), row.regions
                is_framed = row.is_framed
            try:
                request = self._documents.read(row.get("body"))
                inputs = fill_inputs(request.inputs, segments, regions)
                arrays = {each.name: array_of(each) for each in inputs}
                pieces = regions.pieces(request.document)
            except TslError as error:
                self.refuse(number, error)
                continue
            self._calls[number] = _Call(number, request.wishes, is_framed, regions, pieces)
            rows.append(arrays)
            parameters.append(request.wishes.parameters.copy())  # the handler may change its own
        # A context takes any attribute of its users' choice; vars says so to readers.
        vars(self.context).update(input_parameters=parameters, chunk_encoder=self._encode_chunk)
        return rows

    def format_output(self, data: Any) -> list[Any]:
        """One answer for each row; an error in the place of one that cannot be sent.

        Raises:
            InvalidOutput: the handler returned something other than a list of so many dicts.
        """
        if not isinstance(data, list | tuple) or len(data) != len(self._calls):
            msg = f"The handler must return a list of {len(self._calls)} dicts of arrays."
            raise InvalidOutput(msg)
        return [self._answer(*pair) for pair in zip(self._calls.values(), data, strict=True)]

    def _answer(self, call: _Call, result: Any) -> Buffer | TslError:
        if call.row in self._streamed:
            return self._encode_chunk(call.row, result) if result else b""
        try:
            outputs = self._outputs(call, result)
            if call.is_framed:
                return self._framed(call, outputs, call.pieces)
            wants_binary = call.wishes.wants_binary
            is_binary = {each.name: wants_binary(each.name) for each in outputs}
            header, segments = self._document(call, outputs, is_binary, call.pieces)
        except TslError as error:
            return error
        headers = [LENGTH_HEADER, str(len(header)), *_BINARY] if segments else _JSON
        self.context.set_answer_headers(call.row, headers)
        return b"".join((header, *segments)) if segments else header

    def _encode_chunk(self, row: int, value: Any) -> Buffer:
        """An intermediate answer: of HTTP, a line of JSON.

        It has all values in it: the next one would overwrite what it has put into shared memory.

        Raises:
            InvalidOutput: the value is no dict of arrays.
        """
        self._streamed.add(row)
        call = self._calls[row]
        outputs = self._outputs(call, value)
        if call.is_framed:
            return self._framed(call, outputs, {})
        return self._document(call, outputs, {}, {})[0] + b"\n"

    def _outputs(self, call: _Call, result: Any) -> list[OutputTensor]:
        if not isinstance(result, dict):
            msg = f"The handler returned a {type(result).__name__} instead of a dict of arrays."
            raise InvalidOutput(msg)
        names, classes = call.wishes.outputs or list(result), call.wishes.classes
        for name in names:
            if name not in result:
                msg = f"The model has no output {name!r}; it has {', '.join(map(str, result))}."
                raise InvalidInput(msg)
        declared = _declared_in(self.context.model_yaml_config)
        if classes:
            return [self._output(classes, name, result[name], declared) for name in names]
        return [output_of(str(name), scores_of(result[name]), declared.get(name)) for name in names]

    def _output(
        self, classes: dict[str, int], name: str, value: Any, declared: dict[Any, str]
    ) -> OutputTensor:
        """An output of a request that wants classes in place of some scores."""
        output = output_of(str(name), scores_of(value), declared.get(name))
        if name not in classes:
            return output
        model_dir = str(self.context.system_properties.get("model_dir"))
        labels = labels_of(model_dir, self.context.model_yaml_config, name)
        if isinstance(value, dict):
            return classified_by_name(output.name, value, classes[name], labels)
        return classified(output, classes[name], labels)

    def _framed(self, call: _Call, outputs: list[OutputTensor], pieces: dict[str, Piece]) -> bytes:
        is_binary = {each.name: True for each in outputs}
        header, segments = self._document(call, outputs, is_binary, pieces)
        return frame(header, segments)

    def _document(
        self,
        call: _Call,
        outputs: list[OutputTensor],
        is_binary: dict[str, bool],
        pieces: dict[str, Piece],
    ) -> tuple[bytes, list[Buffer]]:
        """The JSON of an answer, and the bytes behind it."""
        manifest = self.context.manifest or {}
        model = manifest.get("model") or {}
        document: dict[str, Any] = {
            "model_name": self.context.model_name,
            "model_version": str(model.get("modelVersion") or "1.0"),
        }
        if call.wishes.request_id:
            document["id"] = call.wishes.request_id
        entries: list[dict[str, Any]] = []
        segments: list[Buffer] = []
        for output in outputs:
            entry: dict[str, Any] = {
                "name": output.name,
                "datatype": output.datatype,
                "shape": output.shape,
            }
            piece = pieces.get(output.name)
            if piece is not None:
                entry["parameters"] = place_output(
                    self.context, call.row, call.regions, piece, output.raw
                )
            elif is_binary.get(output.name):
                entry["parameters"] = {"binary_data_size": len(output.raw)}
                segments.append(output.raw)
            else:
                entry["data"] = output.values()
            entries.append(entry)
        document["outputs"] = entries
        return json_text.compact(document), segments


def _declared_in(yaml: Any) -> dict[Any, str]:
    """Data types of outputs that a model's configuration states, by name."""
    outputs = yaml.get("outputs") if isinstance(yaml, dict) else None
    if not isinstance(outputs, list):
        return {}
    return {
        each["name"]: each["datatype"]
        for each in outputs
        if isinstance(each, dict) and "name" in each and each.get("datatype") in DATATYPES
    }
