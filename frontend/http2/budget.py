"""How much of something that is cheap to send and costly to take a peer may send."""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """A bucket of tokens that fills again as time passes, and as useful work is done.

    Args:
        most: tokens at the beginning, and at most.
        per_s: how many come back in a second.
        clock: seconds.
    """

    __slots__ = ("_at", "_clock", "_left", "_most", "_per_s")

    def __init__(self, most: float, per_s: float, clock: Callable[[], float]) -> None:
        self._most = self._left = most
        self._per_s = per_s
        self._clock = clock
        self._at = clock()

    def spend(self) -> bool:
        """Take a token; False when there is none."""
        self._left -= 1
        if self._left >= 0:
            return True
        now = self._clock()  # only asked when it matters
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        return self._left >= 0
