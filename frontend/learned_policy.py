"""``batchPolicy: learned``: send now, or wait for company?

Three things are learned from what happens anyway: how long batches take (`service_fit`), how soon
one more request comes (`arrival_rates`), and how many clients there are that send again when they
are answered (`returning_clients`). If n requests wait and m - n more would come within w seconds,
waiting for them

* saves each of those that come t(n) + t(m - n) - t(m), for they need no batch of their own,
* costs each that is there the time until the next one comes.

It waits when the one is more than the other, and no longer than it can pay. So where a batch costs
what its requests cost one by one nothing ever waits, nor where nobody is left who could come, nor
where requests come too seldom.

Where all m are clients that wait for their answers, and for the worker, only its time counts: it
waits for all of them when t(n) + t(m - n) - t(m) is more than w. `LearnedPolicy._reunion` says why.

How many of those that wait a worker gets, `batch_sizes` decides; with several idle workers each gets its
share. Times are parameters, and there is no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from .arrival_rates import GRAIN_S, ArrivalRates
from .batch_sizes import (
    BESIDE,
    FIRST_TRIAL,
    LAST_TRIAL,
    LUCK,
    REFRESH,
    TRIAL_COST,
    BatchSizes,
    share,
)
from .returning_clients import ReturningClients
from .service_fit import ServiceFit

_NOISE: Final = 0.95
"""Five percent of what waiting promises is noise."""
_SURE: Final = 0.98
"""The same when nobody has to be guessed at."""
_PATIENCE: Final = 3
"""How many times the usual wait is waited at most."""
_SILENCE: Final = 2
"""How many times the usual gap nobody comes, to say that nobody will."""
_LEAST_CHANCE: Final = 0.05
_LIKELY: Final = 0.8
_WORTH_TRYING: Final = 1.0
"""Of the time of a batch, what it may cost to wait for one more request, to see what that brings."""
_OCCUPIED: Final = 0.4
"""Part of the time in which workers have batches, from which on their time is what all wait for."""
_SURELY_BEFORE: Final = 0.9
"""Part of the time of a batch of one in which it is not answered yet."""
_REACH: Final = 256
"""Jobs of company that are looked ahead at most."""
_SOON: Final = 2


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
        clients: whether they come from clients that were answered.
        sizes: how many jobs batches get.
    """

    def __init__(self, batch_size: int, max_delay_s: float) -> None:
        self.batch_size = batch_size
        self.max_delay_s = max_delay_s
        self.fit = ServiceFit()
        self.arrivals = ArrivalRates()
        self.clients = ReturningClients()
        self.sizes = BatchSizes(batch_size, self.fit)
        self._plans: dict[tuple[int, int, int, bool], Plan] = {}
        self._company_in = FIRST_TRIAL  # decisions
        self._together = 0  # jobs that are to go together, if so many come
        # What was sent last, if nothing was left behind: how many it were, when they left, and
        # whether they had come after the latest answer.
        self._left: tuple[int, float, bool] | None = None

    # -- deciding ------------------------------------------------------------------------------

    def plan(self, waiting: int, idle: int, busy: int = 0, *, afresh: bool = True) -> Plan:
        """Whether to wait for company.

        Args:
            waiting: jobs that wait, at least 1.
            idle: workers that could take a batch now, at least 1.
            busy: workers that have one.
            afresh: whether those that wait came after the latest answer.
        """
        if waiting >= self.batch_size * idle or not self.fit.batches:
            return Plan(waiting)
        key = (waiting, idle, busy, afresh)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(waiting, idle, busy, afresh)
        return plan

    def decide(
        self, waiting: int, idle: int, busy: int, now: float, *, afresh: bool = True
    ) -> Plan:
        """What `plan` says, or wait for all clients, or now and then for one more as a trial.

        Args:
            waiting: jobs that wait, at least 1.
            idle: workers that could take a batch now, at least 1.
            busy: workers that have one.
            now: seconds.
            afresh: whether those that wait came after the latest answer.
        """
        self._together = 0
        plan = self.plan(waiting, idle, busy, afresh=afresh)
        if idle > 1 or waiting >= self.batch_size:
            return plan
        reunion = Plan(waiting) if busy else self._reunion(waiting, now)
        if reunion.target > waiting and reunion.target >= plan.target:
            self._together = reunion.target
            return reunion
        return plan if plan.target > waiting else self._try_company(waiting, afresh)

    def _try_company(self, waiting: int, afresh: bool) -> Plan:
        """Now and then wait for one more, to see whether it is right not to.

        Where nothing ever waits, two clients are always served one by one, and nobody would notice
        that two at once have become cheaper.
        """
        self._company_in -= 1
        gap = self.arrivals.gap(waiting, afresh)
        if self._company_in > 0 or gap.chance < _LIKELY:
            return Plan(waiting)
        patience_s = max(_PATIENCE * gap.seconds, GRAIN_S)
        lost_s = waiting * (gap.seconds + patience_s * (1 - gap.chance))
        part = lost_s / max(self.fit.seconds(waiting), 1e-9)
        every = int(min(max(part / TRIAL_COST, FIRST_TRIAL), LAST_TRIAL))
        together, larger_at = waiting + 1, self.fit.seen_beyond(self._best(waiting))
        is_known = larger_at > max(self.fit.batches - every, 0)
        if part > _WORTH_TRYING or (is_known and together != self.sizes.odd_size):
            return Plan(waiting)
        self._company_in = every
        self._together = together
        return Plan(together, min(patience_s, self.max_delay_s))

    def _plan(self, waiting: int, idle: int, busy: int, afresh: bool) -> Plan:
        served = max(waiting, idle)  # idle workers do not wait for jobs that another one could take
        steps = list(self._steps(waiting, min(self.batch_size * idle, waiting + _REACH), afresh))
        together = self._best(share(waiting + len(steps), idle)) * idle  # more are not sent at once
        best, plan = 0.0, Plan(waiting)
        lost = before_s = 0.0
        for target, (wait_s, chance) in enumerate(steps[: together - waiting], waiting + 1):
            lost += (target - 1) * (wait_s - before_s)  # all that are there wait for the next one
            before_s = wait_s
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

    def _steps(self, waiting: int, most: int, afresh: bool) -> Iterator[tuple[float, float]]:
        """After how many seconds there will be one more, and with what chance; for each one to come."""
        wait_s, chance = 0.0, 1.0
        for number in range(waiting, most):
            step = self.arrivals.gap(number, afresh)
            wait_s += step.seconds
            chance = min(chance, step.chance)
            if chance < _LEAST_CHANCE or wait_s >= self.max_delay_s:
                return
            yield wait_s, chance

    def _reunion(self, waiting: int, now: float) -> Plan:
        """Whether one worker should wait until all clients are back.

        If it serves all of them at once it saves t(n) + t(all - n) - t(all) in each round, and it has
        nothing to do until they are there. They all have their next answers so much sooner as the one is
        more than the other, those that wait now as well: so nothing else counts.
        """
        clients = self.clients
        everyone = clients.number
        if not waiting < everyone <= self.batch_size or not self._is_occupied:
            return Plan(waiting)
        if self._best(everyone) * BESIDE < everyone:  # they would not be served at once
            return Plan(waiting)
        seconds = self.fit.seconds
        apart = seconds(waiting) + seconds(everyone - waiting)
        saved_s = min(apart * _SURE - seconds(everyone), self.max_delay_s)
        wait_s = max(clients.complete_in(now), 0.0)
        if wait_s >= saved_s:
            return Plan(waiting)
        patience_s = wait_s + max(_PATIENCE * clients.spread_s, GRAIN_S)
        return Plan(everyone, min(patience_s, saved_s))

    @property
    def _is_occupied(self) -> bool:
        """Whether what requests wait for is the time of workers, and not only their own batch."""
        return self.arrivals.occupied > _OCCUPIED

    def _saved(self, first: int, later: int, idle: int) -> float:
        """Seconds that workers save when they get jobs at once and not one part after the other."""
        seconds = self.fit.seconds
        apart = seconds(share(first, idle)) + seconds(share(later, idle))
        certain = min(_NOISE, 1 - self.fit.noise * LUCK)
        return apart * certain - seconds(share(first + later, idle))

    def size(self, waiting: int, idle: int, busy: int, in_flight: int) -> int:
        """How many jobs the next batch gets.

        Args:
            waiting: jobs that wait, at least 1.
            idle: workers that could take a batch now, this one included.
            busy: workers that have one.
            in_flight: jobs that those have.
        """
        most = min(share(waiting, idle), self.batch_size)
        if most == 1 or not self.fit.batches:
            return most
        together, self._together = self._together, 0
        best = self._best(most)
        trial = self.sizes.trial(best, most)
        if trial is not None:
            return trial
        if 0 < together <= most:
            return together
        if best == waiting and idle <= 1 and busy:
            return self.sizes.share(waiting, busy, in_flight)
        return best

    def _best(self, most: int) -> int:
        """The size to take of so many jobs.

        When workers have little else to do, the one that answers these jobs the soonest; else the one
        that leaves the most time for others.
        """
        return self.sizes.efficient(most) if self._is_occupied else self.sizes.quick(most)

    # -- learning ------------------------------------------------------------------------------

    def released(
        self, times: list[float], waited: int, since: float, *, afresh: bool = True
    ) -> None:
        """All that waits is given to idle workers.

        Args:
            times: when its jobs came, in order.
            waited: how many of them were there when it was decided what to do.
            since: when that was.
            afresh: whether they had come after the latest answer.
        """
        # Who comes later may only come because these were answered.
        soon_s = _SURELY_BEFORE * self.fit.seconds(1)
        if self._left is not None:
            left, when, had_come = self._left
            self.arrivals.follow(left, when, times[:waited], soon_s, had_come)
        if len(times) > waited:
            self.arrivals.follow(waited, since, times[waited:], soon_s, afresh)
        # What comes from now on could have come along, had these waited.
        self._left = (len(times), max(since, times[-1]), afresh)

    def waited_in_vain(self, now: float) -> None:
        """All that waits was released, but not as many had come as were to come.

        If the silence was long, nobody was left who could come: who comes from now on could not have
        been waited for.
        """
        if self._left is None:
            return
        waiting, latest, afresh = self._left
        if now - latest >= _SILENCE * self.arrivals.gap(waiting, afresh).seconds:
            self.arrivals.stayed_away(waiting, afresh)
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
            self._company_in = min(self._company_in, _SOON)
            self.sizes.try_soon(size if fit.is_surprised else 0)
        if fit.batches % REFRESH == 0 or fit.batches < FIRST_TRIAL or fit.models > models:
            self._plans.clear()
            self.sizes.forget()

    def report(self) -> dict[str, Any]:
        """What was learned, for people; milliseconds, and requests per second."""
        fit = self.fit
        preferred = self.sizes.efficient(self.batch_size)
        together = next(n for n in range(1, self.batch_size + 1) if not self._waits_with(n))
        return {
            "batches": fit.batches,
            "fixedMs": round(fit.fixed_s * 1000, 3),
            "perRequestMs": round(fit.per_job_s * 1000, 3),
            "preferredBatchSize": preferred,
            "waitsForRequests": together,
            "requestsPerSecond": round(self.arrivals.rate, 2),
        }

    def _waits_with(self, jobs: int) -> bool:
        """Whether so many wait for others, when these are about to come."""
        is_reunion = self.fit.batches > 0 and self._reunion(jobs, math.inf).target > jobs
        return is_reunion or self.plan(jobs, 1).target > jobs
