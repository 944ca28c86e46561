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
_PAUSE: Final = 16
"""A silence of more than so many batches says nothing about what comes after it."""
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

    __slots__ = (
        "_between_s",
        "_busy_s",
        "_counted_at",
        "_elapsed_s",
        "_gaps",
        "_jobs",
        "_takes_s",
    )

    def __init__(self) -> None:
        self._gaps: dict[tuple[int, bool], Gap] = {}
        self._counted_at = 0.0
        self._jobs = self._elapsed_s = 0.0  # of a usual batch
        self._busy_s = self._between_s = 0.0  # the same, where a pause counts as a short one
        self._takes_s = 0.0  # what the latest batch takes

    @property
    def rate(self) -> float:
        """Requests per second over the last batches, 0.0 while nothing is known."""
        return self._jobs / self._elapsed_s if self._elapsed_s > 0 else 0.0

    @property
    def occupied(self) -> float:
        """The part of the time of late in which a worker had a batch, summed over workers.

        1.0 while nothing is known.
        """
        return self._busy_s / self._between_s if self._between_s > 0 else 1.0

    def gap(self, waiting: int, afresh: bool = True) -> Gap:
        """What is known about the time from so many that wait to one more."""
        return self._gaps.get((bucket(waiting), afresh), _UNKNOWN)

    def came(self, waiting: int, seconds: float, afresh: bool = True) -> None:
        """One more came so soon that it could have been waited for."""
        key = bucket(waiting), afresh
        chance, usual, count, _ = self._gaps.get(key, _UNKNOWN)
        count = min(count + 1, _MEMORY)
        usual += (seconds - usual) / (1 + (count - 1) * chance)  # who comes again comes anew
        self._gaps[key] = Gap(chance + (1 - chance) / count, usual, count)

    def stayed_away(self, waiting: int, afresh: bool = True) -> None:
        """Nobody came soon.

        Each time after another one weighs more: clients that have left do not come back by chance.
        """
        key = bucket(waiting), afresh
        chance, usual, count, missed = self._gaps.get(key, _UNKNOWN)
        count = min(count + 1, _MEMORY)
        chance -= chance * min((1 + missed) / count, _MOST)
        self._gaps[key] = Gap(chance, usual, count, missed + 1)

    def follow(
        self, waiting: int, since: float, times: list[float], soon_s: float, afresh: bool = True
    ) -> None:
        """Learn from requests that came one after the other.

        Args:
            waiting: how many waited at ``since``.
            since: when that was so, seconds.
            times: when requests came, in order; those before ``since`` are passed over.
            soon_s: nothing would have been waited for that comes later than this.
            afresh: whether those that waited had come after the latest answer.
        """
        for time in times:
            if time < since:
                continue
            if time - since > soon_s:
                self.stayed_away(waiting, afresh)
                return
            self.came(waiting, time - since, afresh)
            waiting += 1
            since = time

    def count(self, jobs: int, now: float, takes_s: float = 0.0) -> None:
        """Account for a batch that leaves and will take so many seconds."""
        if self._counted_at:
            self._jobs += (jobs - self._jobs) / 16
            since_s = now - self._counted_at
            self._elapsed_s += (since_s - self._elapsed_s) / 16
            self._between_s += (min(since_s, _PAUSE * self._takes_s) - self._between_s) / 16
            self._busy_s += (self._takes_s - self._busy_s) / 16
        self._takes_s = takes_s
        self._counted_at = now
