"""How many jobs a batch gets: the most efficient number, the quickest one, or one to be tried."""

from __future__ import annotations

import math
import random

import pytest

from tsl.frontend.batch_sizes import BatchSizes
from tsl.frontend.service_fit import ServiceFit


def half_and_half(size):
    return 0.005 + 0.005 * size


def eights(size):
    return 0.010 * math.ceil(size / 8)


def linear(size):
    return 0.010 * size


def fixed(size):
    return 0.02 + 0.0001 * size


def new_sizes(seconds, sizes=range(1, 33), batch_size=32, times=4):
    fit = ServiceFit()
    for _ in range(times):
        for size in sizes:
            fit.observe(size, seconds(size))
    return BatchSizes(batch_size, fit)


@pytest.mark.parametrize(
    ("seconds", "most", "best"),
    [(eights, 12, 8), (eights, 7, 7), (linear, 12, 1), (fixed, 12, 12), (half_and_half, 12, 10)],
)
def test_the_efficient_size_has_the_least_time_per_job(seconds, most, best):
    assert new_sizes(seconds).efficient(most) == best


@pytest.mark.parametrize(
    ("seconds", "jobs", "sizes"),
    [(eights, 12, {8}), (linear, 12, {1}), (fixed, 12, {12}), (half_and_half, 12, {3, 4})],
)
def test_the_quick_size_answers_the_jobs_the_soonest(seconds, jobs, sizes):
    assert new_sizes(seconds).quick(jobs) in sizes


def test_where_times_vary_a_size_is_not_better_by_luck():
    chance = random.Random(1)

    def noisy(size):
        return (0.009 + 0.001 * size) * chance.lognormvariate(0, 0.3)

    sizes = new_sizes(noisy, range(9, 17), batch_size=16, times=40)
    chosen = []
    for _ in range(200):
        size = chance.randint(9, 16)
        sizes._fit.observe(size, noisy(size))
        sizes.forget()
        chosen.append(sizes.efficient(16))

    assert sum(chosen) / len(chosen) >= 14.5


def trials(sizes, most, batches):
    """The sizes that are tried, each learned from."""
    tried = []
    for _ in range(batches):
        best = sizes.efficient(most)
        size = sizes.trial(best, most)
        if size is not None:
            tried.append(size)
        fit = sizes._fit
        fit.observe(size or best, eights(size or best))
        sizes.forget()
    return tried


def test_powers_of_two_and_all_that_waits_are_tried():
    sizes = new_sizes(eights, [1, 12])

    assert 8 in trials(sizes, 12, 40)
    assert sizes.efficient(12) == 8


def test_what_lies_between_known_sizes_is_tried():
    sizes = new_sizes(eights, [1, 2, 8, 32], batch_size=32)

    tried = trials(sizes, 32, 400)

    assert any(8 < size < 16 for size in tried)


def test_trials_become_rare_when_they_find_nothing():
    sizes = new_sizes(fixed)

    tried = [sizes.trial(sizes.efficient(32), 32) for _ in range(2000)]

    assert 3 <= sum(size is not None for size in tried) <= 2000 * 0.02


def test_an_odd_size_is_tried_again_soon():
    sizes = new_sizes(fixed)
    sizes.trial(32, 32)
    sizes.try_soon(5)

    assert 5 in [sizes.trial(32, 32) for _ in range(2)]


def test_a_worker_leaves_some_for_the_next_one_if_that_is_quicker():
    assert new_sizes(linear).share(8, 1, 1) < 8
    assert new_sizes(fixed).share(3, 1, 1) == 3
