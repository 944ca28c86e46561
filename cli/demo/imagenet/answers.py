"""What the handler works on for one request, and the texts that go back.

JSON is written here rather than by the server, so that a grid of numbers takes one line a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(slots=True)
class PictureRequest:
    """One request of a batch.

    Attributes:
        images: normalised pixels, [N, 3, 224, 224]; None when the request is refused.
        refusal: why it is refused; "" when it is not.
        target: number of the class to explain; None for the most probable one.
        is_explanation: whether the client asked why.
        probabilities: filled in by the forward pass, [N, classes].
    """

    images: Tensor | None = None
    refusal: str = ""
    target: int | None = None
    is_explanation: bool = False
    probabilities: Tensor | None = None


class UnknownClass(Exception):
    """The client named a class to explain that the model does not know."""


def find_class(value: Any, mapping: Mapping[str, str]) -> int | None:
    """The class that a client wants explained.

    Args:
        value: a class number or a class name, as text, bytes or a number; None or empty for
            the most probable class.
        mapping: class name by class number as text.

    Raises:
        UnknownClass: there is no such class.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value
    text = "" if text is None else str(text).strip()
    if not text:
        return None
    if text in mapping:
        return int(text)
    for number, name in mapping.items():
        if name.lower() == text.lower():
            return int(number)
    msg = (
        f"There is no class {text[:40]!r}; 'target' is a class number from 0 to "
        f"{len(mapping) - 1} or a class name such as {mapping['281']!r}."
    )
    raise UnknownClass(msg)


def refuse(message: str) -> str:
    """The answer to a request that cannot be served."""
    return _document({"code": 400, "type": "BadRequestException", "message": message}) + "\n"


def to_json(documents: Sequence[Mapping[str, Any]]) -> str:
    """JSON text of the results: the document of a single picture, or the list of several."""
    if len(documents) == 1:
        return _document(documents[0]) + "\n"
    return "[\n" + ",\n".join(_document(document) for document in documents) + "\n]\n"


def _document(members: Mapping[str, Any]) -> str:
    """One line for each member, and one for each item of a list."""
    lines = [f"  {json.dumps(key)}: {_value(value)}" for key, value in members.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _value(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n    " + ",\n    ".join(json.dumps(item) for item in value) + "\n  ]"
