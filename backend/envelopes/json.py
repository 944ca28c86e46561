"""The ``json`` envelope: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from tsl.protocol.errors import InvalidInput, InvalidOutput

from .base import (
    BaseEnvelope,
    EntryPoint,
    Rows,
    list_member,
    parse_document,
    row_value,
    split_results,
)


class JSONEnvelope(BaseEnvelope):
    """Joins the instances of all requests into one list; the results are split again.

    Each request may hold several instances (a mini-batch), so the handler must return one
    result for each instance.
    """

    def __init__(self, handle_fn: EntryPoint) -> None:
        super().__init__(handle_fn)
        self._lengths: list[int] = []

    def parse_input(self, data: Rows) -> list[Any]:
        """The instances of all rows, in order, base64 values decoded."""
        self._lengths = []
        joined: list[Any] = []
        for number, row in enumerate(data):
            try:
                instances = _instances(row)
            except InvalidInput as error:
                self.refuse(number, error)
            else:
                self._lengths.append(len(instances))
                joined += instances
        return joined

    def _sizes(self) -> list[int]:
        return self._lengths

    def format_output(self, data: Any) -> list[str]:
        """One JSON text for each row.

        Raises:
            InvalidOutput: the results do not match the instances or are no JSON values.
        """
        try:
            return [
                json.dumps({"predictions": part}) for part in split_results(data, self._lengths)
            ]
        except (TypeError, ValueError) as error:
            msg = f"The handler's results cannot be written as JSON: {error}"
            raise InvalidOutput(msg) from error


def _instances(row: dict[str, Any]) -> list[Any]:
    instances = list_member(parse_document(row_value(row) or row), "instances")
    if instances and isinstance(instances[0], dict):
        return [_decode_instance(instance) for instance in instances]
    return instances


def _decode_instance(instance: Any) -> Any:
    if not isinstance(instance, dict):
        return instance
    if _is_base64(instance):
        return _decode(instance["b64"])
    return {
        column: _decode(value["b64"]) if _is_base64(value) else value
        for column, value in instance.items()
    }


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        msg = f'A "b64" value is not valid base64: {error}'
        raise InvalidInput(msg) from error
