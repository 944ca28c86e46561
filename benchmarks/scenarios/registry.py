"""All scenarios, by name."""

from __future__ import annotations

from typing import Final

from .base import Steady
from .fresh import FRESH, Fresh
from .load import STEADY

Scenario = Steady | Fresh

SCENARIOS: Final[dict[str, Scenario]] = {each.name: each for each in (*STEADY, *FRESH)}
