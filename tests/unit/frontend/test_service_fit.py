"""What a batch costs is learned from what batches took."""

from __future__ import annotations

import random

import pytest

from tsl.frontend.service_fit import ServiceFit, bucket, first_of


def learn(fit, seconds, sizes):
    for size in sizes:
        fit.observe(size, seconds(size))
    return fit


def line(size):
    return 0.009 + 0.001 * size


def test_nothing_is_known_at_first():
    fit = ServiceFit()

    assert (fit.batches, fit.seconds(1), fit.seconds(32)) == (0, 0.0, 0.0)


def test_a_line_is_found():
    fit = learn(ServiceFit(), line, [1, 2, 4, 8, 16, 32] * 10)

    assert fit.fixed_s == pytest.approx(0.009, rel=0.01)
    assert fit.per_job_s == pytest.approx(0.001, rel=0.01)
    assert fit.seconds(24) == pytest.approx(line(24), rel=0.01)


@pytest.mark.parametrize("sizes", [[1], [32]], ids=["alone", "full"])
def test_batches_of_one_size_are_known_and_the_rest_is_guessed(sizes):
    fit = learn(ServiceFit(), line, sizes * 50)

    assert fit.seconds(sizes[0]) == pytest.approx(line(sizes[0]), rel=0.01)
    assert fit.fixed_s > 0
    assert fit.per_job_s > 0


def test_the_slope_is_remembered_while_sizes_do_not_differ():
    fit = learn(ServiceFit(), line, [1, 4, 16] * 20)
    learn(fit, line, [16] * 200)

    assert fit.seconds(1) == pytest.approx(line(1), rel=0.2)


def test_a_model_that_becomes_slower_is_followed_in_all_sizes():
    fit = learn(ServiceFit(), line, [1, 4, 16] * 20)
    learn(fit, lambda size: 3 * line(size), [16] * 150)

    assert fit.seconds(16) == pytest.approx(3 * line(16), rel=0.05)
    assert fit.seconds(1) == pytest.approx(3 * line(1), rel=0.3)


def test_a_stall_now_and_then_counts_little():
    chance = random.Random(1)
    fit = learn(
        ServiceFit(),
        lambda size: line(size) * (20 if chance.random() < 0.03 else chance.uniform(0.95, 1.05)),
        [chance.choice([1, 4, 16]) for _ in range(600)],
    )

    assert fit.seconds(16) == pytest.approx(line(16), rel=0.2)


def test_steps_are_known_where_they_were_seen():
    def steps(size):
        return 0.01 * -(-size // 8)

    fit = learn(ServiceFit(), steps, [1, 7, 8, 9, 16] * 20)

    assert fit.seconds(8) == pytest.approx(0.01, rel=0.1)
    assert fit.seconds(9) == pytest.approx(0.02, rel=0.1)
    assert fit.sizes == (1, 16)


def test_a_size_that_is_odd_twice_belongs_to_another_model():
    fit = learn(ServiceFit(), lambda size: 0.01 * size, [1, 2, 4, 8] * 10 + [1] * 40)

    learn(fit, line, [1, 2])
    held = fit.seconds(2), fit.is_surprised, fit.models
    learn(fit, line, [1, 2])

    assert held == (pytest.approx(0.02, rel=0.05), True, 1)
    assert fit.models == 2
    assert fit.seconds(2) == pytest.approx(line(2), rel=0.05)
    assert fit.seconds(8) < 0.08 * 0.7  # what it was is forgotten


def test_a_machine_that_becomes_slow_is_no_other_model():
    fit = learn(ServiceFit(), line, [1, 2, 4, 8] * 10)

    learn(fit, lambda size: 2 * line(size), [1] * 30 + [4] * 30 + [1, 4, 8] * 10)

    assert fit.models == 1
    assert fit.seconds(8) == pytest.approx(2 * line(8), rel=0.1)


def test_one_odd_batch_changes_nothing():
    fit = learn(ServiceFit(), line, [1, 2, 4, 8] * 10)

    fit.observe(4, 5 * line(4))
    learn(fit, line, [1, 2, 4, 8] * 3)

    assert fit.models == 1
    assert fit.seconds(4) == pytest.approx(line(4), rel=0.1)


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 71, 72, 127, 128, 1000, 65_536])
def test_a_bucket_holds_sizes_that_are_close(size):
    first = first_of(bucket(size))

    assert first <= size <= first * 9 / 8
    assert bucket(first) == bucket(size)
    assert bucket(size) <= bucket(size + 1) <= bucket(size) + 1
