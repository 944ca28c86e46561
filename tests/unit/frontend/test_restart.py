"""Back-off and retry window; time is a number."""

from __future__ import annotations

import pytest

from tsl.frontend.restart import DELAYS_S, PROVEN_AFTER_S, RestartPolicy


def deaths(policy, times):
    return [policy.died(now) for now in times]


def test_the_first_restart_is_immediate_and_the_others_wait_longer_and_longer():
    policy = RestartPolicy(10**9)

    assert deaths(policy, range(8)) == [0, 1, 1, 2, 3, 5, 8, 13]


def test_the_delays_are_the_originals_with_the_first_one_in_front():
    assert DELAYS_S[1:7] == (1, 1, 2, 3, 5, 8)
    assert DELAYS_S[-1] == 1597


def test_the_last_delay_is_repeated():
    policy = RestartPolicy(10**9)

    assert deaths(policy, range(25))[-6:] == [1597.0] * 6


def test_without_a_window_there_is_no_restart():
    assert RestartPolicy(0).died(5.0) is None


@pytest.mark.parametrize(("now", "delay"), [(399.9, 1.0), (400.0, None), (500.0, None)])
def test_the_window_counts_from_the_first_death(now, delay):
    policy = RestartPolicy(300)
    policy.died(100.0)

    assert policy.died(now) == delay


def test_a_load_ends_the_window():
    policy = RestartPolicy(300)
    policy.died(0.0)
    assert policy.failing_since == 0.0

    policy.loaded(299.0)

    assert policy.failing_since is None
    assert policy.died(500.0) is not None
    assert policy.failing_since == 500.0


def test_a_worker_that_loads_and_dies_at_once_waits_longer_each_time():
    policy = RestartPolicy(300)
    delays = []

    for start in range(0, 50, 10):
        policy.loaded(start)
        delays.append(policy.died(start + PROVEN_AFTER_S - 0.1))

    assert delays == [0, 1, 1, 2, 3]


def test_a_worker_that_has_served_for_a_while_starts_over():
    policy = RestartPolicy(300)
    deaths(policy, (0.0, 1.0, 2.0))

    policy.loaded(10.0)

    assert policy.died(10.0 + PROVEN_AFTER_S) == 0


def test_a_death_before_the_next_load_is_no_proof():
    policy = RestartPolicy(10**9)
    policy.loaded(0.0)
    policy.died(1.0)

    assert policy.died(1.0 + 10 * PROVEN_AFTER_S) == 1
