"""What descriptions of several routes share: schemas, responses, the operation of running a model."""

from __future__ import annotations

from typing import Any, Final

from ..router import Operation

TEXT: Final[dict[str, Any]] = {"type": "string"}
COUNT: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
FLAG: Final[dict[str, Any]] = {"type": "boolean"}
STATUS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string"}},
}

INPUT: Final = "The input of the model: raw bytes, JSON, text, or a form of several parts."
RUN: Final = {
    "200": "The model's answer; its type and form are the handler's.",
    "400": "The request is not valid.",
    "404": "There is no such model or version.",
    "413": "The body is larger than max_request_size.",
    "500": "The worker died, or did not answer in time.",
    "503": "The handler failed, the queue is full, or the model has no worker.",
    "507": "The handler ran out of memory.",
}


def run_operation(operation_id: str, summary: str) -> Operation:
    """Description of a route that runs a model."""
    return Operation(id=operation_id, summary=summary, body=INPUT, responses=RUN)
