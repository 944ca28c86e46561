"""Read settings of expected types from a mapping that a person wrote.

A value of the wrong type is passed over with a warning, as TorchServe does it, so that one typo
does not keep a model from being served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class TypedValues:
    """Typed access to one mapping.

    All methods answer None for a key that is absent, null, or not what is asked for; in the
    last case a warning is added.

    Args:
        values: the mapping.
        source: where it comes from, for the warnings.
        warnings: list that warnings are added to.
    """

    def __init__(self, values: Mapping[Any, Any], source: str, warnings: list[str]) -> None:
        self._values = values
        self._source = source
        self._warnings = warnings

    def integer(self, key: str, *, minimum: int | None = None) -> int | None:
        """A whole number of at least ``minimum``; true and false are none."""
        value = self._values.get(key)
        if value is None:
            return None
        if _is_integer(value) and (minimum is None or value >= minimum):
            return int(value)
        self._warn(key, "a whole number" + ("" if minimum is None else f" from {minimum} up"))
        return None

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return value
        self._warn(key, "true or false")
        return None

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """One of some words."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, str) and value in choices:
            return value
        self._warn(key, f"one of {', '.join(choices)}")
        return None

    def word(self, key: str) -> str | None:
        """A text; one that looks like a number is none."""
        value = self._values.get(key)
        if value is None or isinstance(value, str):
            return value
        self._warn(key, "a text")
        return None

    def integers(self, key: str) -> tuple[int, ...] | None:
        """A list of whole numbers from 0 up; one wrong element spoils the list."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, list) and all(_is_integer(item) and item >= 0 for item in value):
            return tuple(value)
        self._warn(key, "a list of whole numbers from 0 up")
        return None

    def mapping(self, key: str) -> dict[Any, Any] | None:
        """A mapping."""
        value = self._values.get(key)
        if value is None or isinstance(value, dict):
            return value
        self._warn(key, "a mapping")
        return None

    def _warn(self, key: str, expected: str) -> None:
        value = self._values[key]
        self._warnings.append(
            f"{key} of {self._source} must be {expected}, not {value!r:.60}; it is ignored"
        )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
