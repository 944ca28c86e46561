"""How soon one more request comes is learned by the number that waits."""

from __future__ import annotations

import pytest

from tsl.frontend.arrival_rates import ArrivalRates


def test_nobody_is_expected_at_first():
    assert ArrivalRates().gap(1).chance == 0.0


def test_a_burst_is_known_up_to_its_end():
    arrivals = ArrivalRates()

    for start in range(20):
        times = [start + 0.001 * number for number in range(1, 4)]
        arrivals.follow(1, start, [*times, start + 0.9], soon_s=0.01)

    for waiting in (1, 2, 3):
        assert arrivals.gap(waiting).seconds == pytest.approx(0.001)
        assert arrivals.gap(waiting).chance > 0.9
    assert arrivals.gap(4).chance == 0.0
    assert arrivals.gap(5).seen == 1


def test_requests_from_before_are_passed_over():
    arrivals = ArrivalRates()

    arrivals.follow(1, 5.0, [4.0, 4.5, 5.25], soon_s=1.0)

    assert arrivals.gap(1).seconds == 0.25


def test_who_comes_every_other_time_is_half_expected():
    arrivals = ArrivalRates()
    for number in range(64):
        arrivals.came(1, 0.002) if number % 2 else arrivals.stayed_away(1)

    assert arrivals.gap(1).chance == pytest.approx(0.5, abs=0.1)
    assert arrivals.gap(1).seconds == pytest.approx(0.002)


def test_who_stays_away_is_forgotten():
    arrivals = ArrivalRates()
    for _ in range(50):
        arrivals.came(7, 0.001)
    for _ in range(80):
        arrivals.stayed_away(7)

    assert arrivals.gap(7).chance < 0.05


def test_the_rate_is_that_of_the_last_batches():
    arrivals = ArrivalRates()
    assert arrivals.rate == 0.0

    for number in range(200):
        arrivals.count(4, number * 0.1)

    assert arrivals.rate == pytest.approx(40, rel=0.01)


def test_who_stays_away_time_after_time_is_forgotten_sooner():
    arrivals = ArrivalRates()
    for _ in range(50):
        arrivals.came(1, 0.002)
    for _ in range(8):
        arrivals.stayed_away(1)

    assert arrivals.gap(1).chance < 0.1


def test_who_comes_again_after_a_long_time_comes_as_it_does_now():
    arrivals = ArrivalRates()
    for _ in range(50):
        arrivals.came(1, 0.002)
    for _ in range(20):
        arrivals.stayed_away(1)

    arrivals.came(1, 0.5)

    assert arrivals.gap(1).seconds == pytest.approx(0.5, rel=0.05)


def test_workers_are_occupied_for_a_part_of_the_time():
    rates = ArrivalRates()
    for number in range(60):
        rates.count(12, 100 + number / 4, 0.05)

    assert rates.occupied == pytest.approx(0.2, rel=0.02)


def test_a_long_pause_does_not_mean_that_workers_have_time_after_it():
    rates = ArrivalRates()
    for number in range(60):
        rates.count(16, 100 + number * 0.15, 0.15)
    rates.count(16, 200.0, 0.15)

    assert rates.occupied > 0.45
