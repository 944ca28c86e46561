"""The event loop turns while an answer is expected, and not any longer."""

from __future__ import annotations

import pytest

from tsl.frontend import busy_loop
from tsl.frontend.busy_loop import BusyLoop, busy_poll_us
from tsl.protocol.busy_polling import BusyPolling

LIMIT_S = 0.001


class Turns:
    """An event loop with a clock: each turn takes a tenth of the limit."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.soon = []
        self.yields = 0
        monkeypatch.setattr(busy_loop, "monotonic", lambda: self.now)
        monkeypatch.setattr(busy_loop.os, "sched_yield", self.note_yield)

    def note_yield(self):
        self.yields += 1

    def run(self, turns):
        """Make so many turns; answers how many of them the loop would have slept in."""
        slept = 0
        for _ in range(turns):
            slept += not self.soon
            callbacks, self.soon[:] = list(self.soon), []
            for callback in callbacks:
                callback()
            self.now += LIMIT_S / 10
        return slept


@pytest.fixture
def turns(monkeypatch):
    return Turns(monkeypatch)


@pytest.fixture
def loop(turns):
    return BusyLoop(LIMIT_S, turns.soon.append)


def test_it_stays_awake_until_the_answer(loop, turns):
    polling = BusyPolling(LIMIT_S)

    loop.expect(polling)
    assert turns.run(5) == 0
    loop.arrived(polling)

    assert turns.run(5) == 4  # one more turn to notice
    assert polling.is_worthwhile()


def test_it_gives_up_at_the_limit(loop, turns):
    polling = BusyPolling(LIMIT_S)

    loop.expect(polling)

    assert turns.run(30) == pytest.approx(19, abs=1)
    assert not polling.is_worthwhile()


def test_it_lets_others_have_the_processor(loop, turns):
    loop.expect(BusyPolling(LIMIT_S))

    turns.run(5)

    assert turns.yields == 5


def test_what_comes_too_late_changes_nothing(loop, turns):
    polling = BusyPolling(LIMIT_S)
    loop.expect(polling)
    turns.run(30)

    loop.arrived(polling)

    assert not polling.is_worthwhile()
    assert turns.run(5) == 5


def test_another_one_s_answer_does_not_count(loop, turns):
    loop.expect(BusyPolling(LIMIT_S))

    loop.arrived(BusyPolling(LIMIT_S))

    assert turns.run(5) == 0


def test_the_second_wait_at_the_same_time_is_not_tried(loop, turns):
    first, second = BusyPolling(LIMIT_S), BusyPolling(LIMIT_S)
    loop.expect(first)

    loop.expect(second)
    turns.run(30)

    assert not first.is_worthwhile()
    assert second.is_worthwhile()


def test_one_answer_and_the_next_wait_share_a_turn(loop, turns):
    polling = BusyPolling(LIMIT_S)
    loop.expect(polling)
    loop.arrived(polling)

    loop.expect(polling)

    assert len(turns.soon) == 1
    assert turns.run(5) == 0


def test_nobody_stays_awake_on_one_processor():
    assert busy_poll_us(300, cpus=1) == 0
    assert busy_poll_us(300, cpus=2) == 300
    assert busy_poll_us(0, cpus=2) == 0
