"""How many batches may be in flight, learned from service times."""

from __future__ import annotations

import pytest

from tsl.frontend.pipelining import ALONE_US, BUDGET_US, MAX_DEPTH, PROOF, SLOW_US, PipelineDepth


def after(*times_us):
    depth = PipelineDepth()
    for service_us in times_us:
        depth.observe(service_us)
    return depth.depth


def test_a_model_is_slow_until_proven_quick():
    assert PipelineDepth().depth == 1
    assert after(*[50] * (PROOF - 1)) == 1
    assert after(*[50] * PROOF) > 1


def test_a_very_quick_model_gets_the_most():
    assert after(*[10] * 200) == MAX_DEPTH


def test_the_depth_can_be_limited():
    depth = PipelineDepth(limit=1)

    for _ in range(200):
        depth.observe(10)

    assert depth.depth == 1


def test_what_is_in_flight_is_worth_no_more_than_the_budget():
    for service_us in (100, 250, 500, 999, 1500):
        assert after(*[service_us] * 500) == BUDGET_US // service_us


@pytest.mark.parametrize("service_us", [BUDGET_US + 1, SLOW_US])
def test_a_model_slower_than_the_budget_gets_one(service_us):
    assert after(*[service_us] * 500) == 1


def test_one_slow_batch_and_the_model_must_prove_itself_again():
    quick = [50] * 200

    assert after(*quick, SLOW_US + 1) == 1
    assert after(*quick, SLOW_US + 1, *[50] * (PROOF - 1)) == 1
    assert after(*quick, SLOW_US + 1, *[50] * PROOF) > 1


def spare(service_us, workers, *, limit=MAX_DEPTH):
    depth = PipelineDepth(limit=limit)
    for _ in range(PROOF):
        depth.observe(service_us)
    return depth.has_spare(workers)


def test_only_a_lone_worker_has_a_spare_batch_of_a_slow_model():
    assert spare(BUDGET_US, 1)
    assert spare(BUDGET_US, 2)
    assert spare(SLOW_US + 1, 1)
    assert not spare(SLOW_US + 1, 2)
    assert spare(ALONE_US, 1)
    assert not spare(ALONE_US + 1, 1)


def test_a_worker_has_no_spare_batch_before_anything_is_known():
    assert not PipelineDepth().has_spare(1)


def test_where_the_depth_is_limited_to_one_there_is_no_spare_batch():
    assert not spare(BUDGET_US, 1, limit=1)


def test_one_slow_batch_does_not_make_a_lone_worker_wait_for_ever():
    depth = PipelineDepth()
    for service_us in (2_000_000, *[20_000] * 60):
        depth.observe(service_us)

    assert depth.has_spare(1)
