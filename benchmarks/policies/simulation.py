"""A server in simulated time: the real queues, pretended workers and clients.

What a queue decides takes no time here, and answers come back to clients at once, so that the
figures are those of the policy alone. Timers are rounded up to a millisecond, as they are in the
event loop.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tsl.frontend.arrival_rates import GRAIN_S
from tsl.frontend.batching import BatchPolicy, BatchQueue
from tsl.frontend.jobs import Job
from tsl.frontend.learned_queue import LearnedQueue
from tsl.protocol.errors import TslError
from tsl.protocol.frames import Chunk, Reply, Row

Service = Callable[[int, float, random.Random], float]
"""Seconds that a batch takes: its size, the time, and a source of chance."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Clients that send again ``turnaround_s`` after an answer; some need longer to begin.

    From ``until_s`` on only ``stay`` of them do.
    """

    clients: int
    turnaround_s: float = 0.0002
    until_s: float = math.inf
    stay: int = 0


@dataclass(frozen=True, slots=True)
class Poisson:
    """Requests that know nothing of each other, so many per second."""

    rate: float


@dataclass(frozen=True, slots=True)
class Bursts:
    """So many requests at nearly the same moment, every so often."""

    size: int
    every_s: float
    width_s: float = 0.0005


Load = Closed | Poisson | Bursts


@dataclass(frozen=True, slots=True)
class Setting:
    """A fixed setting, or the learned one."""

    name: str
    policy: BatchPolicy
    batch_size: int
    max_delay_s: float = 0.0

    def queue(self) -> BatchQueue:
        """Make a queue of it."""
        limits = {"capacity": 100_000, "capacity_bytes": 1 << 40}
        size, delay = self.batch_size, self.max_delay_s
        if self.policy is BatchPolicy.LEARNED:
            return LearnedQueue(batch_size=size, max_delay_s=delay, **limits)
        return BatchQueue(batch_size=size, max_delay_s=delay, policy=self.policy, **limits)


@dataclass(slots=True)
class Outcome:
    """What came out.

    Attributes:
        answered: requests that were answered in the time that counts.
        rate: of them per second.
        latencies: seconds, in the order of their answers.
        sizes: batches by size.
    """

    answered: int = 0
    rate: float = 0.0
    latencies: list[float] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def mean_s(self) -> float:
        """Mean latency, seconds."""
        return sum(self.latencies) / len(self.latencies) if self.latencies else math.nan

    def quantile_s(self, part: float) -> float:
        """Such a part of the requests was answered within so many seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else math.nan


class Simulation:
    """One run.

    Args:
        setting: how batches are made.
        load: who asks.
        service: how long batches take.
        workers: that serve them.
        seed: of everything random.
    """

    def __init__(
        self, setting: Setting, load: Load, service: Service, workers: int = 1, seed: int = 0
    ) -> None:
        self.queue = setting.queue()
        self._learned = self.queue if isinstance(self.queue, LearnedQueue) else None
        self._load = load
        self._clients = load.clients if isinstance(load, Closed) else 0
        self._service = service
        self._chance = random.Random(seed)
        self._arrivals = random.Random(seed + 1)  # the same ones for every setting
        self._idle: deque[int] = deque(range(workers))
        self._workers = workers
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ring_at = math.inf
        self._counts_from = 0.0
        self.now = 0.0
        self.outcome = Outcome()

    def run(self, seconds: float, warm_up_s: float) -> Outcome:
        """Simulate, and count what happens after the warm-up."""
        self._counts_from = warm_up_s
        self._begin(seconds + warm_up_s)
        while self._events and self._events[0][0] <= seconds + warm_up_s:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.outcome.rate = self.outcome.answered / seconds
        return self.outcome

    def _at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), act))

    def _begin(self, end: float) -> None:
        load, chance = self._load, self._arrivals
        if isinstance(load, Closed):
            for _ in range(load.clients):
                self._at(chance.random() * 0.01, self._arrive)
            return
        time = 0.0
        while time < end:
            if isinstance(load, Poisson):
                time += chance.expovariate(load.rate)
                self._at(time, self._arrive)
            else:
                time += load.every_s
                for _ in range(load.size):
                    self._at(time + chance.random() * load.width_s, self._arrive)

    def _arrive(self) -> None:
        self.queue.put(Job(Row("", [], [], []), Nobody(), self.now))
        self._dispatch()

    def _ring(self) -> None:
        if self.now >= self._ring_at:
            self._ring_at = math.inf
            self._dispatch()

    def _dispatch(self) -> None:
        """As `BatchPool` does it."""
        queue, idle = self.queue, self._idle
        if self._learned is not None:
            self._learned.workers(len(idle), self._workers - len(idle))
        while idle and queue.is_due(self.now):
            jobs, _ = queue.take(self.now)
            self._serve(idle.popleft(), jobs)
        if self._learned is not None:
            self._learned.settle()
        due_at = queue.due_at() if idle else None
        if due_at is not None and due_at < self._ring_at:
            self._ring_at = max(due_at, self.now + GRAIN_S)
            self._at(self._ring_at, self._ring)

    def _serve(self, worker: int, jobs: list[Job]) -> None:
        seconds = self._service(len(jobs), self.now, self._chance)
        begun = self.now

        def done() -> None:
            self._idle.append(worker)
            self._answer(jobs)
            if self._learned is not None:
                self._learned.served(len(jobs), self.now - begun, self.now)
            if len(self.queue):
                self._dispatch()

        self._at(self.now + seconds, done)

    def _answer(self, jobs: list[Job]) -> None:
        outcome = self.outcome
        if self.now >= self._counts_from:
            outcome.answered += len(jobs)
            outcome.latencies += [self.now - job.enqueued_at for job in jobs]
            outcome.sizes[len(jobs)] = outcome.sizes.get(len(jobs), 0) + 1
        load = self._load
        if isinstance(load, Closed):
            for _ in jobs:
                if self.now >= load.until_s and self._clients > load.stay:
                    self._clients -= 1
                    continue
                turnaround = load.turnaround_s * (0.5 + self._chance.random())
                self._at(self.now + turnaround, self._arrive)


class Nobody:
    """Takes answers and does nothing with them."""

    def finish(self, job: Job, reply: Reply) -> None:
        """Drop it."""

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """Drop it."""

    def fail(self, job: Job, error: TslError) -> None:
        """Drop it."""
