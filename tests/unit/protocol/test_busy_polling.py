"""Staying awake goes on while it pays, and becomes rare when it does not."""

from __future__ import annotations

from tsl.protocol.busy_polling import MOST_LEFT_OUT, BusyPolling


def attempts(polling: BusyPolling, waits: int, *, pay: bool) -> int:
    """How many of so many waits are spent awake, all of them with the same outcome."""
    count = 0
    for _ in range(waits):
        if polling.is_worthwhile():
            count += 1
            (polling.paid if pay else polling.failed)()
    return count


def test_it_is_tried_at_once():
    assert BusyPolling(0.001).is_worthwhile()


def test_it_goes_on_while_it_pays():
    assert attempts(BusyPolling(0.001), 1000, pay=True) == 1000


def test_a_limit_of_nothing_means_never():
    assert attempts(BusyPolling(0.0), 1000, pay=True) == 0


def test_it_becomes_rare_when_it_does_not_pay():
    polling = BusyPolling(0.001)
    attempts(polling, 1000, pay=False)

    assert attempts(polling, 10 * (MOST_LEFT_OUT + 1), pay=False) == 10


def test_it_comes_back_within_a_few_attempts():
    polling = BusyPolling(0.001)
    attempts(polling, 1000, pay=False)

    attempts(polling, 2 * MOST_LEFT_OUT, pay=True)

    assert attempts(polling, 100, pay=True) == 100
    assert attempts(polling, 10, pay=False) >= 2


def test_a_few_failures_among_many_successes_cost_little():
    polling = BusyPolling(0.001)
    tried = 0
    for turn in range(1000):
        if polling.is_worthwhile():
            tried += 1
            (polling.failed if turn % 10 == 0 else polling.paid)()

    assert tried > 850
