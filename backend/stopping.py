"""Stopping criteria: how handlers of continuous batches say which rows are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .context import Context

STREAM_NEXT: Final = "ts_stream_next"
"""Response header: ``true`` when more answers to the request follow."""


def apply_stopping_criteria(context: Context, answers: Sequence[Any]) -> None:
    """Ask the handler's criteria, one for each row, whether more answers follow.

    Each is called with the row's answer. It returns True when that was the last one, False when
    there are more, and None when the answer is not a stream.

    Args:
        context: of the call; gets the header that says so.
        answers: what the handler returned.
    """
    for row, (criterion, answer) in enumerate(
        zip(context.stopping_criteria, answers, strict=False)
    ):
        is_last = criterion(answer)
        if is_last is not None:
            context.set_response_header(row, STREAM_NEXT, "false" if is_last else "true")
