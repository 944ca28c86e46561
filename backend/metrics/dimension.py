"""One label of a metric."""

from __future__ import annotations


class Dimension:
    """A named value that tells the series of one metric apart.

    Args:
        name: label name, such as ``ModelName``.
        value: its value.
    """

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"

    def __repr__(self) -> str:
        return f"Dimension({self.name!r}, {self.value!r})"

    def to_dict(self) -> dict[str, str]:
        """The form that a JSON document of metrics has."""
        return {"Name": self.name, "Value": self.value}
