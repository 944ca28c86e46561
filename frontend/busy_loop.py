"""Keep the event loop awake for a moment, when a worker is about to answer.

The loop goes on turning: whatever else comes meanwhile is handled as at any other time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from time import monotonic

from tsl.protocol.busy_polling import BusyPolling


def busy_poll_us(configured: int, cpus: int) -> int:
    """For how long to stay awake, microseconds.

    Args:
        configured: the setting ``busy_poll_us``.
        cpus: how many this server may use; on a single one, who stays awake keeps the other from
            working.
    """
    return configured if cpus > 1 else 0


def _next_turn(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


class BusyLoop:
    """What keeps one event loop awake; for one wait at a time.

    Args:
        limit_s: for how long at most, seconds; 0.0 for never.
        call_soon: calls something in the loop's next turn.

    Attributes:
        quick_us: models that take no longer than this may answer within the limit, microseconds.
    """

    __slots__ = ("_call_soon", "_is_turning", "_polling", "_until", "limit_s", "quick_us")

    def __init__(
        self,
        limit_s: float = 0.0,
        call_soon: Callable[[Callable[[], None]], None] = _next_turn,
    ) -> None:
        self.limit_s = limit_s
        self.quick_us = limit_s * 1e6 / 2  # the other half is for the ways there and back
        self._call_soon = call_soon
        self._polling: BusyPolling | None = None
        self._until = 0.0
        self._is_turning = False

    def expect(self, polling: BusyPolling) -> None:
        """Something will come soon; stay awake for it if that is worthwhile."""
        if self._polling is not None or not polling.is_worthwhile():
            return
        self._polling = polling
        self._until = monotonic() + polling.limit_s
        if not self._is_turning:
            self._is_turning = True
            self._call_soon(self._turn)

    def arrived(self, polling: BusyPolling) -> None:
        """It has come."""
        if self._polling is polling:
            self._polling = None
            polling.paid()

    def _turn(self) -> None:
        polling = self._polling
        if polling is None:
            self._is_turning = False
            return
        if monotonic() >= self._until:
            self._polling = None
            self._is_turning = False
            polling.failed()
            return
        os.sched_yield()  # to whoever wants this processor
        self._call_soon(self._turn)
