"""The ``body`` envelope: the handler gets the values of the requests without their rows."""

from __future__ import annotations

from typing import Any

from .base import BaseEnvelope, Rows, row_value


class BodyEnvelope(BaseEnvelope):
    """Unwraps ``{"body": value}``; answers are left alone."""

    def parse_input(self, data: Rows) -> list[Any]:
        """One value for each row."""
        return [row_value(row) for row in data]
