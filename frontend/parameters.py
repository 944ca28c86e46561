"""Values of management calls, whatever brought them: texts by name, read by TorchServe's rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from tsl.protocol.errors import InvalidParameter

Item = TypeVar("Item")

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,10}")
PAGE: Final = 100
"""Entries per page of a list at most, and by default."""


def lenient_int(values: Mapping[str, str], name: str, default: int) -> int:
    """TorchServe's rule: what is no number of 32 bits counts as not given."""
    text = values.get(name, "")
    if not _NUMBER.fullmatch(text):
        return default
    number = int(text)
    return number if -(2**31) <= number < 2**31 else default


def int_within(
    values: Mapping[str, str], name: str, *, minimum: int, maximum: int, unset: int
) -> int | None:
    """A number that has to make sense; None when it is not given.

    Args:
        values: the values of the call.
        name: of the parameter.
        minimum: the smallest one that makes sense.
        maximum: the largest one.
        unset: the number by which clients of TorchServe say that they do not say.

    Raises:
        InvalidParameter: it is outside of the limits.
    """
    number = lenient_int(values, name, unset)
    if number == unset:
        return None
    if not minimum <= number <= maximum:
        raise InvalidParameter(
            f"Parameter {name} is {number}; it has to be from {minimum} to {maximum}."
        )
    return number


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
