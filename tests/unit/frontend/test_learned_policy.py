"""The decisions of a learned policy: to wait or not, and how many to send."""

from __future__ import annotations

import pytest

from tsl.frontend.learned_policy import LearnedPolicy


def sublinear(size):
    return 0.009 + 0.001 * size


def linear(size):
    return 0.010 * size


def new_policy(seconds=sublinear, batch_size=16, max_delay_s=0.1, sizes=(1, 2, 4, 8, 16)):
    policy = LearnedPolicy(batch_size, max_delay_s)
    for _ in range(20):
        for size in sizes:
            policy.served(size, seconds(size))
    return policy


def know_clients(policy, clients, gap_s=0.0002, times=40):
    """So many clients, each of which comes back when it has its answer."""
    for start in range(times):
        burst = [start + gap_s * number for number in range(clients)]
        policy.released(burst, 1, burst[0])


def test_at_first_nothing_waits():
    policy = LearnedPolicy(16, 0.1)

    assert policy.plan(1, 1).target == 1
    assert policy.size(5, 1, 0, 0) == 5


def test_a_lone_client_never_waits():
    policy = new_policy()
    know_clients(policy, 1)

    assert policy.plan(1, 1).target == 1


def test_who_was_waited_for_in_vain_is_soon_expected_no_more():
    policy = new_policy()
    know_clients(policy, 8)

    for start in range(100, 110):
        policy.released([start], 1, start)
        policy.waited_in_vain(start + 0.001)
        policy.served(1, sublinear(1))

    assert policy.arrivals.gap(1).chance < 0.1
    assert policy.plan(1, 1).target == 1


def test_a_wait_that_ends_soon_after_somebody_came_says_nothing():
    policy = new_policy()
    know_clients(policy, 8, gap_s=0.002)

    policy.released([100.0, 100.002, 100.004], 1, 100.0)
    policy.waited_in_vain(100.005)

    assert policy.arrivals.gap(3).chance == pytest.approx(1.0, abs=0.1)


def test_now_and_then_one_more_is_waited_for_although_it_does_not_seem_to_pay():
    policy = new_policy(linear)
    know_clients(policy, 2)

    plans = []
    for _ in range(100):
        plans.append(policy.decide(1, 1, 0, 50.0))
        policy.served(plans[-1].target, linear(plans[-1].target))

    tried = [number for number, plan in enumerate(plans) if plan.target == 2]
    assert policy.plan(1, 1).target == 1
    assert 1 <= len(tried) <= 4
    assert 0 < plans[tried[0]].wait_s <= 0.001


def test_a_lone_client_is_not_waited_for_either():
    policy = new_policy(linear)
    for start in range(40):
        policy.released([start * 0.0102], 1, start * 0.0102)

    assert {policy.decide(1, 1, 0, 50.0).target for _ in range(2000)} == {1}


def test_clients_that_come_back_together_are_waited_for():
    policy = new_policy()
    know_clients(policy, 8)

    plan = policy.plan(1, 1)

    assert plan.target == 8
    assert 0 < plan.wait_s < sublinear(1)
    assert policy.plan(8, 1).target == 8  # nobody is left who could come


def test_a_full_batch_waits_for_nobody():
    policy = new_policy(batch_size=8)
    know_clients(policy, 12)

    assert policy.plan(8, 1).target == 8


def test_where_batches_save_nothing_nothing_waits():
    policy = new_policy(linear)
    know_clients(policy, 8)

    assert [policy.plan(waiting, 1).target for waiting in range(1, 9)] == list(range(1, 9))


def test_nobody_waits_for_requests_that_come_too_seldom():
    policy = new_policy()
    know_clients(policy, 8, gap_s=0.012)

    assert [policy.plan(waiting, 1).target for waiting in (1, 2, 7)] == [1, 2, 7]


def test_the_delay_is_the_limit():
    policy = new_policy(lambda size: 1.0 + 0.001 * size, max_delay_s=0.05)
    know_clients(policy, 4, gap_s=0.04)

    assert policy.plan(1, 1).wait_s <= 0.05


def test_one_idle_worker_for_each_needs_no_company():
    policy = new_policy()
    know_clients(policy, 2, gap_s=0.002)

    assert policy.plan(1, 2).target == 1


def test_idle_workers_share_what_waits():
    assert new_policy().size(8, 4, 0, 0) == 2


def test_a_worker_leaves_some_for_the_next_one_if_that_is_quicker():
    assert new_policy(linear).size(8, 1, 1, 1) < 8
    assert new_policy(lambda size: 0.02 + 0.0001 * size).size(3, 1, 1, 1) == 3


def test_a_size_that_is_served_best_is_found_under_load():
    def knee(size):
        return 0.004 + 0.002 * (size + 2 * max(size - 8, 0))

    policy = LearnedPolicy(32, 0.1)
    sizes = []
    for _ in range(1500):
        sizes.append(policy.size(100, 1, 0, 0))
        policy.served(sizes[-1], knee(sizes[-1]))

    usual = sorted(sizes[-100:])[50]
    assert 6 <= usual <= 10
    assert knee(usual) / usual <= 1.05 * knee(8) / 8


def test_trials_cost_little():
    policy = new_policy(lambda size: 0.02 + 0.0001 * size)

    sizes = [policy.size(100, 1, 0, 0) for _ in range(2000)]

    per_job_s = [(0.02 + 0.0001 * size) / size for size in sizes]
    assert sum(size != sizes[0] for size in sizes) >= 5
    assert sum(per_job_s) <= 1.01 * len(sizes) * min(per_job_s)


@pytest.mark.parametrize("seconds", [sublinear, linear])
def test_a_drift_is_followed(seconds):
    policy = new_policy(linear if seconds is sublinear else sublinear)
    know_clients(policy, 8)
    for size in (1, 2, 4, 8, 16) * 40:
        policy.served(size, seconds(size))

    assert (policy.plan(1, 1).target == 8) is (seconds is sublinear)


def sit_and_wait(policy, clients, return_s=0.006, service_s=0.017, times=40):
    """All clients are there before each answer; the last of them returns after so long."""
    now = 100.0
    for _ in range(times):
        now += return_s
        policy.arrivals.count(clients, now)
        policy.clients.answered(clients, now, now + service_s)
        now += service_s
    return now


def test_all_clients_are_waited_for_when_that_saves_the_worker_time():
    """Four that wait 6 ms for four others lose more than those gain; but all come round sooner."""
    policy = new_policy()
    now = sit_and_wait(policy, 8)

    plan = policy.decide(4, 1, 0, now)

    assert policy.plan(4, 1).target == 4
    assert plan.target == 8
    assert 0.006 <= plan.wait_s <= 2 * sublinear(4) - sublinear(8)
    assert policy.size(8, 1, 0, 0) == 8


def test_clients_that_take_longer_to_come_back_than_they_save_are_not_waited_for():
    policy = new_policy()
    now = sit_and_wait(policy, 8, return_s=0.0095)

    assert policy.decide(4, 1, 0, now).target == 4
    assert policy.decide(4, 1, 0, now + 0.005).target == 8  # most of that time is over


def test_where_batches_save_nothing_no_client_is_waited_for():
    policy = new_policy(linear)
    now = sit_and_wait(policy, 8, service_s=0.08)

    assert {policy.decide(n, 1, 0, now + 0.1).target - n for n in range(1, 8)} == {0}


def test_more_clients_than_are_served_at_once_are_not_waited_for():
    def knee(size):
        return 0.003 + 0.001 * (size + 4 * max(size - 4, 0))

    policy = new_policy(knee, sizes=range(1, 17))
    now = sit_and_wait(policy, 12)

    assert policy.decide(8, 1, 0, now + 0.1).target == 8


def test_where_workers_have_time_jobs_are_answered_soon_rather_than_together():
    """Twelve every quarter of a second: all at once need 65 ms, three batches of four 50 on the average."""
    policy = new_policy(lambda size: 0.005 + 0.005 * size, sizes=range(1, 17))
    for number in range(40):
        policy.arrivals.count(12, 100 + number / 4, 0.065)

    assert policy.size(12, 1, 0, 0) in {3, 4}


def test_who_is_left_over_after_an_answer_does_not_wait_for_a_new_burst():
    policy = new_policy()
    know_clients(policy, 8)

    assert policy.plan(1, 1).target == 8
    assert policy.plan(1, 1, afresh=False).target == 1


def test_two_clients_of_a_quick_model_are_tried_together():
    """The other one needs two thirds of a batch to come: dear, but worth a trial now and then."""
    policy = new_policy(lambda size: 0.0003 + 0.00002 * size, sizes=(1,))
    know_clients(policy, 2, gap_s=0.0002)

    plans = [policy.decide(1, 1, 0, 50.0) for _ in range(1000)]

    assert 2 <= sum(plan.target == 2 for plan in plans) <= 20


def test_the_report_is_for_people():
    policy = new_policy()
    know_clients(policy, 8)
    policy.arrivals.count(8, 1.0)
    policy.arrivals.count(8, 2.0)

    report = policy.report()

    assert report["batches"] == 100
    assert report["fixedMs"] == pytest.approx(9, rel=0.02)
    assert report["perRequestMs"] == pytest.approx(1, rel=0.02)
    assert report["preferredBatchSize"] >= 14
    assert report["waitsForRequests"] == 8
    assert report["requestsPerSecond"] == pytest.approx(8)
