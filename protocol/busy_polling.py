"""Whether to stay awake for what will come in a moment: busy polling, only where it pays.

A process that sleeps is woken by another one, and on a virtual machine that takes longer than the
work of a quick model: the sleeper's processor has been given back to the host. With one client it
happens four times in each request. Whoever expects an answer within some hundred microseconds
looks for it again and again instead, and gives the processor to anybody else who wants it between
two looks. ``docs/decisions.md`` has the figures.

What is wasted is bounded twice: a look lasts no longer than a limit, and after looks in vain the
next ones are left out, more of them each time.
"""

from __future__ import annotations

from typing import Final

MOST_LEFT_OUT: Final = 64
"""Waits between two attempts, when none has paid for long: 1/64 of the limit is wasted per wait."""


class BusyPolling:
    """Decides for one kind of wait, by how often staying awake has paid.

    Whoever is told that it is worthwhile says afterwards whether it has `paid` or `failed`.

    Args:
        limit_s: how long to stay awake at most, seconds; 0.0 for never.
    """

    __slots__ = ("_left_out", "_to_leave_out", "limit_s")

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._to_leave_out = 0  # after the next failure
        self._left_out = 0

    def is_worthwhile(self) -> bool:
        """Whether to stay awake this time; to be asked once for each wait."""
        if self._left_out:
            self._left_out -= 1
            return False
        return self.limit_s > 0

    def paid(self) -> None:
        """What was waited for has come in time."""
        self._to_leave_out //= 2

    def failed(self) -> None:
        """It has not."""
        self._left_out = self._to_leave_out = min(2 * self._to_leave_out + 1, MOST_LEFT_OUT)
