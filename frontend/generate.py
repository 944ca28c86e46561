"""Triton's generate extension as values: a JSON request to what a model gets, and answers to JSON.

A client that works with text needs to know nothing of tensors: ``{"text_input": …, "parameters":
{…}}`` in, ``{"text_output": …}`` out. What a model gets depends on what it takes.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from tsl.protocol.errors import InvalidRequest
from tsl.protocol.frames import Buffer

TEXT_INPUT: Final = "text_input"
TEXT_OUTPUT: Final = "text_output"
_ID: Final = "id"
_PARAMETERS: Final = "parameters"
_TEXT_MEMBERS: Final = ("text", "generated_text")
"""Where TorchServe's handlers of language models leave their text."""
_MAX_RANK: Final = 32
_SCALARS: Final = (str, int, float)  # and bool, which is an int


class Form(Enum):
    """What a model takes."""

    TENSORS = "tensors"
    """The Open Inference Protocol: ``inputFormat: tensors``, or the envelope ``kservev2``."""
    INSTANCES = "instances"
    """The envelopes ``kserve`` and ``json``."""
    PLAIN = "plain"
    """The JSON object itself."""

    @classmethod
    def of(cls, input_format: str | None, envelope: str) -> Form:
        """The form for a model.

        Args:
            input_format: of the model.
            envelope: of the server, "" for none.
        """
        if input_format == "tensors" or envelope == "kservev2":
            return cls.TENSORS
        return cls.INSTANCES if envelope in ("kserve", "json") else cls.PLAIN


def parse_request(body: Buffer) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        InvalidRequest: it is none, or has members that contradict the extension.
    """
    try:
        document = json.loads(str(body, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The request body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise InvalidRequest("The request body is not a JSON object.")
    if not isinstance(document.get(_PARAMETERS) or {}, dict):
        raise InvalidRequest("The parameters of the request must be a JSON object.")
    if not isinstance(document.get(_ID, ""), str | int):
        raise InvalidRequest("The id of the request must be a text.")
    return document


def model_input(
    document: dict[str, Any], form: Form, declared: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the model gets, as a JSON document.

    Args:
        document: the client's.
        form: what the model takes.
        declared: ``inputs`` of its ``model-config.yaml``.

    Raises:
        InvalidRequest: a member can be neither an input nor a parameter.
    """
    if form is Form.TENSORS:
        return _tensors(document, declared)
    plain = {**(document.get(_PARAMETERS) or {}), **document}
    if TEXT_INPUT in document:
        plain.setdefault("prompt", document[TEXT_INPUT])
    return {"instances": [plain]} if form is Form.INSTANCES else plain


def _tensors(document: dict[str, Any], declared: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    inputs = []
    parameters = dict(document.get(_PARAMETERS) or {})
    by_name = {each["name"]: each for each in declared}
    for name, value in document.items():
        if name in by_name or name == TEXT_INPUT:
            entry = by_name.get(name, {"datatype": "BYTES", "shape": [1]})
            inputs.append(_tensor(name, value, entry))
        elif name not in (_ID, _PARAMETERS):
            parameters[name] = value
    for name, value in parameters.items():
        if not isinstance(value, _SCALARS):
            raise InvalidRequest(
                f"{name!r} is no input of the model, and no parameter, which are texts, numbers or "
                "booleans.",
                hint="Declare the model's inputs in its model-config.yaml.",
            )
    request: dict[str, Any] = {"inputs": inputs, _PARAMETERS: parameters}
    if document.get(_ID):
        request[_ID] = str(document[_ID])
    return request


def _tensor(name: str, value: Any, entry: Mapping[str, Any]) -> dict[str, Any]:
    shape = _shape_of(value)
    shape = [1] * (max(len(entry["shape"]), 1) - len(shape)) + shape
    data = value if isinstance(value, list) else [value]
    return {"name": name, "datatype": entry["datatype"], "shape": shape, "data": data}


def _shape_of(value: Any) -> list[int]:
    """Sizes of nested lists, by the first of each; whether they are even is the worker's affair."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MAX_RANK:
        shape.append(len(value))
        value = value[0] if value else None
    return shape


class AnswerReader:
    """Reads the answers to one request, pieces of a stream or the only one.

    Args:
        head: members that every answer has.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = head
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, body: Buffer, *, is_last: bool = False) -> dict[str, Any]:
        """What a client is told.

        Args:
            body: the handler's bytes. JSON objects are taken as such; anything else is text, which
                may be cut anywhere, also within a character.
            is_last: nothing follows.
        """
        text = self._decoder.decode(bytes(body), is_last)
        return {**self._head, **_members(text)}


def _members(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {TEXT_OUTPUT: text}
    if not isinstance(document, dict):
        return {TEXT_OUTPUT: text}
    outputs, predictions = document.get("outputs"), document.get("predictions")
    if isinstance(outputs, list) and all(map(_is_output, outputs)):
        return {each["name"]: _value(each["data"]) for each in outputs}
    if isinstance(predictions, list) and len(predictions) == 1:
        only = predictions[0]
        document = only if isinstance(only, dict) else {TEXT_OUTPUT: only}
    if TEXT_OUTPUT not in document:
        for name in _TEXT_MEMBERS:
            if isinstance(document.get(name), str):
                return {TEXT_OUTPUT: document[name], **document}
    return document


def _is_output(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str) and "data" in entry


def _value(data: Any) -> Any:
    return data[0] if isinstance(data, list) and len(data) == 1 else data


class Joined:
    """The answers of a stream as one: texts in a row, of other members the last.

    Attributes:
        document: what has been joined so far.
        size_bytes: how much that was.
    """

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self.size_bytes = 0
        self._texts: list[str] = []

    def add(self, answer: dict[str, Any], size_bytes: int) -> None:
        """Another answer, and what it was read from."""
        text = answer.get(TEXT_OUTPUT)
        if isinstance(text, str):
            self._texts.append(text)
        self.size_bytes += size_bytes
        self.document.update(answer)

    def whole(self) -> dict[str, Any]:
        """All of it."""
        if self._texts:
            self.document[TEXT_OUTPUT] = "".join(self._texts)
        return self.document


def encode(document: Mapping[str, Any]) -> bytes:
    """An answer as JSON, in one line."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")
