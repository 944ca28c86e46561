"""The time as connections need it: coarse, cheap, and once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate

from .messages import FIXED_HEADERS


class Clock:
    """Current time, renewed by `tick`.

    Attributes:
        now: ``time.monotonic()`` seconds, up to one tick old; good enough for time-outs.
        headers: the fixed response headers with the current ``date``.
    """

    __slots__ = ("_watchers", "headers", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.headers = b""
        self._watchers: list[Callable[[], None]] = []
        self.tick()

    def tick(self) -> None:
        """Look at the real clock."""
        self.now = time.monotonic()
        self.headers = FIXED_HEADERS + f"date: {formatdate(usegmt=True)}\r\n".encode("ascii")
        for renew in self._watchers:
            renew()

    def watch(self, renew: Callable[[], None]) -> None:
        """Call something now and after each tick."""
        self._watchers.append(renew)
        renew()
