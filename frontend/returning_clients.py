"""How many clients there are, if each of them sends again when it has its answer, and how soon.

Who waits for an answer before it asks again is, just before an answer, always there: waiting or being
served. So where the number of requests that are there is much the same before each answer, it is
the number of clients. Where requests know nothing of each other that number varies as much as it is
large (its variance is its mean, or more).

Pure arithmetic, a few operations for each batch.
"""

from __future__ import annotations

from typing import Final

_MEMORY: Final = 16
"""Answers after which an old one has lost most of its weight."""
_ALIKE: Final = 6
"""So many answers with the same number before them are enough, whatever was there earlier."""
_STEADY: Final = 0.25
"""Variance, as a part of the mean, of a number that is much the same."""


class ReturningClients:
    """Counts clients by the requests that are there before each answer.

    Attributes:
        return_s: seconds from an answer until all clients are there again, usually.
        spread_s: by how much that differs from one time to the next.
    """

    __slots__ = (
        "_alike",
        "_answered_at",
        "_count",
        "_mean",
        "_present",
        "_returns",
        "_variance",
        "return_s",
        "spread_s",
    )

    def __init__(self) -> None:
        self.return_s = self.spread_s = 0.0
        self._count = self._returns = self._present = self._alike = 0
        self._mean = self._variance = 0.0
        self._answered_at = 0.0

    @property
    def number(self) -> int:
        """Clients; 0 when requests come by themselves, or little is known.

        Who was not there before the latest answer may have left.
        """
        if self._count < _MEMORY or not self._returns or self._variance > _STEADY * self._mean:
            return 0
        return min(round(self._mean), self._present)

    def complete_in(self, now: float) -> float:
        """Seconds until all are there again; below 0 when they should be."""
        return self._answered_at + self.return_s - now

    def answered(self, present: int, latest: float, now: float) -> None:
        """A batch is answered.

        Args:
            present: requests that were waiting or being served until now, those of the batch included.
            latest: when the latest of them came, seconds.
            now: seconds.
        """
        self._alike = self._alike + 1 if present == self._present else 1
        if self._alike == _ALIKE:
            self._count, self._mean, self._variance = _MEMORY, float(present), 0.0
        self._count = min(self._count + 1, _MEMORY)
        off = present - self._mean
        self._mean += off / self._count
        self._variance += (off * (present - self._mean) - self._variance) / self._count
        self._present = present
        took_s = latest - self._answered_at
        if took_s > 0 and present >= round(self._mean) and self._answered_at:
            self._returns = min(self._returns + 1, _MEMORY)
            off_s = took_s - self.return_s
            self.return_s += off_s / self._returns
            self.spread_s += (abs(off_s) - self.spread_s) / self._returns
        self._answered_at = now
