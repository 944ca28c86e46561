"""JSON written so that people can read it: a row of numbers takes one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_json(answer: Any) -> str:
    """JSON text of a request's answer.

    Args:
        answer: the document of a single picture, or the list of several.
    """
    if isinstance(answer, Mapping):
        return _document(answer) + "\n"
    return "[\n" + ",\n".join(map(_document, answer)) + "\n]\n"


def _document(members: Mapping[str, Any]) -> str:
    """One line for each member, and one for each item of a list."""
    lines = [f"  {json.dumps(key)}: {_value(value)}" for key, value in members.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _value(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n    " + ",\n    ".join(json.dumps(item) for item in value) + "\n  ]"
