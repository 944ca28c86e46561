"""How many jobs a batch gets, when it is known how long batches of each size take.

Two answers: the size that is served quickest per job, where all wait for the workers' time; and the
size that answers the jobs that wait the soonest, where workers have time enough. Now and then another
size is tried, for what is never tried is never known. No clock and no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from .service_fit import ServiceFit

REFRESH: Final = 8
"""Batches after which what was decided is decided anew."""
FIRST_TRIAL: Final = 32
LAST_TRIAL: Final = 1024
TRIAL_COST: Final = 0.005
"""What trying something else may cost, as a part of all time."""
LUCK: Final = 1 / 3
"""By what part of the usual deviation a time may only seem to be so short, or so long."""
BESIDE: Final = 1.25
"""Sizes that differ by no more than this are hardly told apart."""
_ENOUGH: Final = 1.02
"""Of two sizes that differ by so little per job, the smaller one is taken."""
_SOON: Final = 2


class BatchSizes:
    """Chooses sizes for the workers of one model version.

    Args:
        batch_size: jobs per batch at most.
        fit: what batches cost.

    Attributes:
        odd_size: a size to be tried again, for it took another time than expected; 0 for none.
    """

    def __init__(self, batch_size: int, fit: ServiceFit) -> None:
        self.batch_size = batch_size
        self.odd_size = 0
        self._fit = fit
        self._efficient: dict[int, int] = {}
        self._quick: dict[int, int] = {}
        self._trial_in = REFRESH  # batches
        self._tried_beside = 0

    def forget(self) -> None:
        """Decide anew: more is known."""
        self._efficient.clear()
        self._quick.clear()

    def try_soon(self, odd_size: int) -> None:
        """Something has changed: try other sizes soon, or this one if it is not 0."""
        self.odd_size = odd_size
        self._trial_in = min(self._trial_in, _SOON)

    # What is best...

    def efficient(self, most: int) -> int:
        """The number of jobs, at most so many, that are served quickest per job."""
        most = min(most, self.batch_size)
        size = self._efficient.get(most)
        if size is None:
            size = self._efficient[most] = self._find_efficient(most)
        return size

    def quick(self, jobs: int) -> int:
        """The size of batches that answers so many jobs the soonest, on the average."""
        size = self._quick.get(jobs)
        if size is None:
            sizes = self._candidates(min(jobs, self.batch_size))
            size = self._quick[jobs] = min(sizes, key=lambda size: self._waits(jobs, size))
        return size

    def _find_efficient(self, most: int) -> int:
        """Almost as quick per job is enough for a smaller one: its jobs are answered earlier.

        The more times vary, the more a size must be better than the one that the line of all sizes would
        have: of many that are the same, one always seems to be better.
        """
        fit = self._fit
        sizes = list(self._candidates(most))
        per_job = [fit.seconds(size) / size for size in sizes]
        by_line = [fit.fixed_s / size + fit.per_job_s for size in sizes]
        usual = next(n for n, each in enumerate(by_line) if each <= min(by_line) * _ENOUGH)
        if min(per_job) > per_job[usual] * (1 - fit.noise * LUCK):
            return sizes[usual]
        least = min(per_job) * _ENOUGH
        return next(size for size, each in zip(sizes, per_job, strict=True) if each <= least)

    def _waits(self, jobs: int, size: int) -> float:
        """Sum of the times until jobs are answered, in batches of a size, one after the other."""
        full, rest = divmod(jobs, size)
        each_s = self._fit.seconds(size)
        waits = size * each_s * full * (full + 1) / 2
        return waits + rest * (full * each_s + self._fit.seconds(rest)) if rest else waits

    def _candidates(self, most: int) -> Iterator[int]:
        """Sizes of which something is known, in order, and ``most``."""
        low, high = self._fit.sizes
        size = low
        while size < most and size <= high:
            yield size
            size += 1 if size < 64 else size // 8
        yield most

    # ...what is worth a trial...

    def trial(self, best: int, most: int) -> int | None:
        """Another size than the one that seems best, to see whether it does not only seem so.

        Asked once for each batch.

        Args:
            best: that size.
            most: jobs that could be sent.

        Returns:
            A size to take; None when this batch is not for trying.
        """
        self._trial_in -= 1
        if self._trial_in > 0:
            return None
        size = self.odd_size
        if not 0 < size <= most:
            size = min(self._neighbours(best, most), key=self._fit.seen_at, default=best)
        self.odd_size = 0
        seconds = self._fit.seconds
        lost_s = seconds(size) - size * seconds(best) / best
        wanted = lost_s / (TRIAL_COST * max(seconds(best), 1e-9))
        preferred = self.efficient(self.batch_size)
        if not preferred / BESIDE < self._tried_beside < preferred * BESIDE:
            self._tried_beside = preferred
            wanted = REFRESH  # the last trial was worth while: so may be the next one
        else:
            wanted = max(wanted, FIRST_TRIAL)
        self._trial_in = int(min(wanted, LAST_TRIAL))
        return size

    def _neighbours(self, best: int, most: int) -> list[int]:
        """What may be better than the size that seems best.

        Half and double of it, or all that waits; powers of two, for many models are padded to them; and
        the middle of what lies between it and the sizes that are known.
        """
        power = 1 << (best.bit_length() - 1)
        known = list(self._candidates(most))
        below = max((n for n in known if n * BESIDE < best), default=best)
        above = min((n for n in known if n > best * BESIDE), default=best)
        sizes = [power * 2, power, min(best * 2, most), best // 2]
        sizes += [(below + best) // 2, (best + above) // 2]
        return [size for size in dict.fromkeys(sizes) if 0 < size <= most and size != best]

    # ...and what to leave for the next worker.

    def share(self, waiting: int, busy: int, in_flight: int) -> int:
        """How many to take when the next worker that becomes idle could get the rest.

        Sums of the times until each job is done decide. A busy worker is as likely at any point of
        its batch, so the first of ``busy`` is done after 1 / (busy + 1) of it.

        Args:
            waiting: jobs that one worker could take.
            busy: workers that have a batch, at least 1.
            in_flight: jobs that those have.
        """
        part = share(waiting + in_flight, busy + 1)
        if part >= waiting:
            return waiting
        seconds = self._fit.seconds
        rest = waiting - part
        until_next = seconds(share(in_flight, busy)) / (busy + 1)
        together = waiting * seconds(waiting)
        apart = part * seconds(part) + rest * (until_next + seconds(rest))
        return part if apart < together else waiting


def share(jobs: int, workers: int) -> int:
    """What each of some workers gets of jobs at most."""
    return math.ceil(jobs / workers) if workers > 1 else jobs
