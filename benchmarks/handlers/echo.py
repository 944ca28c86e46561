"""Gives every request's body back unchanged: what is left is the cost of serving."""

from typing import Any


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:
    """One answer per row."""
    del context
    if data is None:  # the call at load time
        return None
    return [row["body"] for row in data]
