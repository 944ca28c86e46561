"""``batchPolicy: learned``: send now, or wait for company? And how many at once?

Two things are learned from what happens anyway: how long batches take (`service_fit`), and how soon
one more request comes (`arrival_rates`). If n requests wait and m - n more would come within w seconds,
waiting for them

* saves each of those that come t(n) + t(m - n) - t(m), for they need no batch of their own,
* costs each that is there the time until the next one comes.

It waits when the one is more than the other, and no longer than it can pay. So where a batch costs
what its requests cost one by one nothing ever waits, nor where nobody is left who could come, nor
where requests come too seldom.

Of what waits, a worker gets as many as are served quickest per job, at most ``batch_size``; with
several idle workers each gets its share. Times are parameters, and there is no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from .arrival_rates import GRAIN_S, ArrivalRates
from .service_fit import ServiceFit

_NOISE: Final = 0.95
"""Five percent of what waiting promises is noise."""
_ENOUGH: Final = 1.02
"""Of two sizes that differ by so little per job, the smaller one is taken."""
_PATIENCE: Final = 3
"""How many times the usual wait is waited at most."""
_SILENCE: Final = 2
"""How many times the usual gap nobody comes, to say that nobody will."""
_LEAST_CHANCE: Final = 0.05
_LIKELY: Final = 0.8
_WORTH_TRYING: Final = 0.1
"""Of the time of a batch, what it may cost to wait for one more request, to see what that brings."""
_SURELY_BEFORE: Final = 0.9
"""Part of the time of a batch of one in which it is not answered yet."""
_REFRESH: Final = 8
"""Batches after which plans are made anew."""
_REACH: Final = 256
"""Jobs of company that are looked ahead at most."""
_SOON: Final = 2
_FIRST_TRIAL: Final = 32
_LAST_TRIAL: Final = 1024
_TRIAL_COST: Final = 0.005
"""What trying other sizes may cost, as a part of all time."""


class Plan(NamedTuple):
    """What to do with what waits.

    Attributes:
        target: send as soon as so many wait; the number that waits means: send now.
        wait_s: send after so many seconds at the latest.
    """

    target: int
    wait_s: float = 0.0


class LearnedPolicy:
    """Decides for the workers of one model version.

    Args:
        batch_size: jobs per batch at most.
        max_delay_s: nothing waits longer for company, whatever it may promise.

    Attributes:
        fit: what batches cost.
        arrivals: when requests come.
    """

    def __init__(self, batch_size: int, max_delay_s: float) -> None:
        self.batch_size = batch_size
        self.max_delay_s = max_delay_s
        self.fit = ServiceFit()
        self.arrivals = ArrivalRates()
        self._plans: dict[tuple[int, int, int], Plan] = {}
        self._sizes: dict[int, int] = {}
        self._trial_in = _FIRST_TRIAL  # batches
        self._trial_is_up = False
        self._company_in = _FIRST_TRIAL  # decisions
        self._next_trial = 0  # a size, when it is known which one
        self._tried_beside = 0
        # What was sent last, if nothing was left behind: how many it were, and when they left.
        self._left: tuple[int, float] | None = None

    # -- deciding ------------------------------------------------------------------------------

    def plan(self, waiting: int, idle: int, busy: int = 0) -> Plan:
        """Whether to wait for company.

        Args:
            waiting: jobs that wait, at least 1.
            idle: workers that could take a batch now, at least 1.
            busy: workers that have one.
        """
        if waiting >= self.batch_size * idle or not self.fit.batches:
            return Plan(waiting)
        key = (waiting, idle, busy)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(waiting, idle, busy)
        return plan

    def decide(self, waiting: int, idle: int, busy: int = 0) -> Plan:
        """What `plan` says; but now and then wait for one more, to see whether it is right not to.

        Where nothing ever waits, two clients are always served one by one, and nobody would notice
        that two at once have become cheaper.
        """
        plan = self.plan(waiting, idle, busy)
        if plan.target > waiting or waiting >= self.batch_size or idle > 1:
            return plan
        self._company_in -= 1
        gap = self.arrivals.gap(waiting)
        part = waiting * gap.seconds / max(self.fit.seconds(waiting), 1e-9)
        if self._company_in > 0 or gap.chance < _LIKELY or part > _WORTH_TRYING:
            return plan
        self._company_in = int(min(max(part / _TRIAL_COST, _FIRST_TRIAL), _LAST_TRIAL))
        self._trial_in, self._next_trial = 0, waiting + 1
        patience_s = max(_PATIENCE * gap.seconds, GRAIN_S)
        return Plan(waiting + 1, min(patience_s, self.max_delay_s))

    def _plan(self, waiting: int, idle: int, busy: int) -> Plan:
        gap = self.arrivals.gap
        served = max(waiting, idle)  # idle workers do not wait for jobs that another one could take
        best, plan = 0.0, Plan(waiting)
        wait_s = lost = 0.0
        chance = 1.0
        for target in range(waiting + 1, min(self.batch_size * idle, waiting + _REACH) + 1):
            step = gap(target - 1)
            wait_s += step.seconds
            lost += (target - 1) * step.seconds  # all that are there wait for the next one
            chance = min(chance, step.chance)
            if chance < _LEAST_CHANCE or wait_s >= self.max_delay_s:
                break
            if target <= served:
                continue
            # Who comes late would take another worker, if there is one.
            gain = (target - served) * self._saved(served, target - served, idle) / (busy + 1)
            patience_s = max(_PATIENCE * wait_s, GRAIN_S)
            risked = lost + (target - 1) * patience_s * (1 - chance) / chance
            if gain - risked > best:
                best = gain - risked
                plan = Plan(target, min(patience_s, gain / target, self.max_delay_s))
        return plan

    def _saved(self, first: int, later: int, idle: int) -> float:
        """Seconds that workers save when they get jobs at once and not one part after the other."""
        seconds = self.fit.seconds
        apart = seconds(_share(first, idle)) + seconds(_share(later, idle))
        return apart * _NOISE - seconds(_share(first + later, idle))

    def size(self, waiting: int, idle: int, busy: int, in_flight: int) -> int:
        """How many jobs the next batch gets.

        Args:
            waiting: jobs that wait, at least 1.
            idle: workers that could take a batch now, this one included.
            busy: workers that have one.
            in_flight: jobs that those have.
        """
        most = min(_share(waiting, idle) if idle > 1 else waiting, self.batch_size)
        if most == 1 or not self.fit.batches:
            return most
        size = self._efficient(most)
        self._trial_in -= 1
        if self._trial_in <= 0:
            size = self._another(size, most)
        elif size == waiting and idle <= 1 and busy:
            size = self._leave_some(size, busy, in_flight)
        return size

    def _another(self, best: int, most: int) -> int:
        """Another size than the one that seems best, to see whether it does not only seem so."""
        self._trial_is_up = not self._trial_is_up and best < most
        size = min(best * 2, most) if self._trial_is_up else max(best // 2, 1)
        if self._next_trial:
            size, self._next_trial = min(self._next_trial, most), 0
        seconds = self.fit.seconds
        lost_s = seconds(size) - size * seconds(best) / best
        wanted = lost_s / (_TRIAL_COST * max(seconds(best), 1e-9))
        if not best / 1.25 < self._tried_beside < best * 1.25:
            self._tried_beside = best
            wanted = _REFRESH  # the last trial was worth while: so may be the next one
        else:
            wanted = max(wanted, _FIRST_TRIAL)
        self._trial_in = int(min(wanted, _LAST_TRIAL))
        return size

    def _leave_some(self, waiting: int, busy: int, in_flight: int) -> int:
        """Whether the next worker that becomes idle should get a part of what waits.

        Sums of the times until each job is done decide. A busy worker is as likely at any point of
        its batch, so the first of ``busy`` is done after 1 / (busy + 1) of it.
        """
        part = _share(waiting + in_flight, busy + 1)
        if part >= waiting:
            return waiting
        seconds = self.fit.seconds
        rest = waiting - part
        until_next = seconds(_share(in_flight, busy)) / (busy + 1)
        together = waiting * seconds(waiting)
        apart = part * seconds(part) + rest * (until_next + seconds(rest))
        return part if apart < together else waiting

    def _efficient(self, most: int) -> int:
        """The number of jobs, at most so many, that are served quickest per job."""
        most = min(most, self.batch_size)
        size = self._sizes.get(most)
        if size is None:
            size = self._sizes[most] = self._find_efficient(most)
        return size

    def _find_efficient(self, most: int) -> int:
        """Almost as quick per job is enough for a smaller one: its jobs are answered earlier."""
        seconds = self.fit.seconds
        least = min(seconds(n) / n for n in self._candidates(most))
        return next(n for n in self._candidates(most) if seconds(n) / n <= least * _ENOUGH)

    def _candidates(self, most: int) -> Iterator[int]:
        """Sizes of which something is known, in order, and ``most``."""
        low, high = self.fit.sizes
        size = low
        while size < most and size <= high:
            yield size
            size += 1 if size < 64 else size // 8
        yield most

    # -- learning ------------------------------------------------------------------------------

    def released(self, times: list[float], waited: int, since: float) -> None:
        """All that waits is given to idle workers.

        Args:
            times: when its jobs came, in order.
            waited: how many of them were there when it was decided what to do.
            since: when that was.
        """
        # Who comes later may only come because these were answered.
        soon_s = _SURELY_BEFORE * self.fit.seconds(1)
        if self._left is not None:
            self.arrivals.follow(*self._left, times[:waited], soon_s)
        if len(times) > waited:
            self.arrivals.follow(waited, since, times[waited:], soon_s)
        # What comes from now on could have come along, had these waited.
        self._left = (len(times), max(since, times[-1]))

    def waited_in_vain(self, now: float) -> None:
        """All that waits was released, but not as many had come as were to come.

        If the silence was long, nobody was left who could come: who comes from now on could not have
        been waited for.
        """
        if self._left is None:
            return
        waiting, latest = self._left
        if now - latest >= _SILENCE * self.arrivals.gap(waiting).seconds:
            self.arrivals.stayed_away(waiting)
            self._left = None

    def left_behind(self) -> None:
        """Jobs wait still: until they are served, nobody will ask whether to wait for others."""
        self._left = None

    def served(self, size: int, seconds: float) -> None:
        """A batch was answered.

        Args:
            size: its jobs.
            seconds: for how long the worker was occupied.
        """
        fit, models = self.fit, self.fit.models
        fit.observe(size, seconds)
        if fit.is_surprised or fit.models > models:  # try it again, or others, soon
            self._trial_in = min(self._trial_in, _SOON)
            self._company_in = min(self._company_in, _SOON)
            self._next_trial = size if fit.is_surprised else 0
        if fit.batches % _REFRESH == 0 or fit.batches < _FIRST_TRIAL or fit.models > models:
            self._plans.clear()
            self._sizes.clear()

    def report(self) -> dict[str, Any]:
        """What was learned, for people; milliseconds, and requests per second."""
        fit = self.fit
        preferred = self._efficient(self.batch_size)
        together = next(
            (n for n in range(1, self.batch_size) if self.plan(n, 1).target == n), self.batch_size
        )
        return {
            "batches": fit.batches,
            "fixedMs": round(fit.fixed_s * 1000, 3),
            "perRequestMs": round(fit.per_job_s * 1000, 3),
            "preferredBatchSize": preferred,
            "waitsForRequests": together,
            "requestsPerSecond": round(self.arrivals.rate, 2),
        }


def _share(jobs: int, workers: int) -> int:
    return math.ceil(jobs / workers) if workers > 1 else jobs
