"""Values of management calls, whatever brought them: texts by name, read by TorchServe's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

Item = TypeVar("Item")

PAGE: Final = 100
"""Entries per page of a list at most, and by default."""


def lenient_int(values: Mapping[str, str], name: str, default: int) -> int:
    """TorchServe's rule: what is no number counts as not given."""
    try:
        return int(values[name])
    except (KeyError, ValueError):
        return default


def boolean(text: str) -> bool:
    """Whether a parameter says true."""
    return text.lower() == "true"


def page_of(items: list[Item], values: Mapping[str, str]) -> tuple[list[Item], str | None]:
    """The part of a list that a client asks for with ``limit`` and ``next_page_token``.

    Returns:
        The items, and ``nextPageToken`` if there is one. As with TorchServe there is one also when
        the page ends exactly where the list does.
    """
    limit = lenient_int(values, "limit", PAGE)
    limit = limit if 0 <= limit <= PAGE else PAGE
    start = max(lenient_int(values, "next_page_token", 0), 0)
    token = str(start + limit) if start + limit <= len(items) else None
    return items[start : start + limit], token
