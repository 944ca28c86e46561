"""How soon one more request comes, learned for each number that waits already.

The question is only asked while a worker is idle, and a worker that was given its batch one request
too early answers it as well as one that waited: the next request comes when it comes. So nothing
has to be tried out to learn.

Clients that send again when they have their answer come back in a burst, and then nobody is left
who could come: the table knows that, because it is kept by the number that waits.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .service_fit import bucket

_MEMORY: Final = 16
"""Observations after which an old one has lost most of its weight."""
_MOST: Final = 0.5
"""What one observation may take of a chance."""
GRAIN_S: Final = 0.001
"""The event loop's timers are not finer."""


class Gap(NamedTuple):
    """What is known about one step.

    Attributes:
        chance: how often one more came soon.
        seconds: after how long it came then.
        seen: observations.
        missed: how often, one time after the other, none came of late.
    """

    chance: float = 0.0
    seconds: float = 0.0
    seen: int = 1
    missed: int = 0


_UNKNOWN: Final = Gap()


class ArrivalRates:
    """Gaps between requests, and their rate."""

    __slots__ = ("_counted_at", "_elapsed_s", "_gaps", "_jobs")

    def __init__(self) -> None:
        self._gaps: dict[int, Gap] = {}
        self._counted_at = 0.0
        self._jobs = self._elapsed_s = 0.0  # of a usual batch

    @property
    def rate(self) -> float:
        """Requests per second over the last batches, 0.0 while nothing is known."""
        return self._jobs / self._elapsed_s if self._elapsed_s > 0 else 0.0

    def gap(self, waiting: int) -> Gap:
        """What is known about the time from so many that wait to one more."""
        return self._gaps.get(bucket(waiting), _UNKNOWN)

    def came(self, waiting: int, seconds: float) -> None:
        """One more came so soon that it could have been waited for."""
        chance, usual, count, _ = self._gaps.get(bucket(waiting), _UNKNOWN)
        count = min(count + 1, _MEMORY)
        usual += (seconds - usual) / (1 + (count - 1) * chance)  # who comes again comes anew
        self._gaps[bucket(waiting)] = Gap(chance + (1 - chance) / count, usual, count)

    def stayed_away(self, waiting: int) -> None:
        """Nobody came soon.

        Each time after another one weighs more: clients that have left do not come back by chance.
        """
        chance, usual, count, missed = self._gaps.get(bucket(waiting), _UNKNOWN)
        count = min(count + 1, _MEMORY)
        chance -= chance * min((1 + missed) / count, _MOST)
        self._gaps[bucket(waiting)] = Gap(chance, usual, count, missed + 1)

    def follow(self, waiting: int, since: float, times: list[float], soon_s: float) -> None:
        """Learn from requests that came one after the other.

        Args:
            waiting: how many waited at ``since``.
            since: when that was so, seconds.
            times: when requests came, in order; those before ``since`` are passed over.
            soon_s: nothing would have been waited for that comes later than this.
        """
        for time in times:
            if time < since:
                continue
            if time - since > soon_s:
                self.stayed_away(waiting)
                return
            self.came(waiting, time - since)
            waiting += 1
            since = time

    def count(self, jobs: int, now: float) -> None:
        """Account for a batch that leaves, for the rate."""
        if self._counted_at:
            self._jobs += (jobs - self._jobs) / 16
            self._elapsed_s += (now - self._counted_at - self._elapsed_s) / 16
        self._counted_at = now
