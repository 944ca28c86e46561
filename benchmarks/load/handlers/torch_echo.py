"""Imports torch, as nearly every handler does, and gives back what it gets."""

from typing import Any

import torch


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:
    """One answer per row."""
    del context
    if data is None:  # the call at load time
        torch.zeros(1)
        return None
    return [row["body"] for row in data]
