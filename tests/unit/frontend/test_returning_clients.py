"""Clients are counted where they wait for their answers, and nowhere else."""

from __future__ import annotations

import random

import pytest

from tsl.frontend.returning_clients import ReturningClients


def answer(clients, present, latest_s=0.003, every_s=0.02, start=1.0):
    """One answer after the other: so many were there, the latest so soon after the one before."""
    for number, there in enumerate(present):
        now = start + number * every_s
        clients.answered(there, now - every_s + latest_s, now)
    return start + (len(present) - 1) * every_s


def test_nobody_is_counted_at_first():
    clients = ReturningClients()
    answer(clients, [8] * 5)

    assert clients.number == 0


def test_as_many_as_are_always_there_are_clients():
    clients = ReturningClients()
    latest = answer(clients, [8] * 40)

    assert clients.number == 8
    assert clients.return_s == pytest.approx(0.003)
    assert clients.complete_in(latest + 0.001) == pytest.approx(0.002)
    assert clients.complete_in(latest + 0.004) < 0


def test_requests_that_know_nothing_of_each_other_are_no_clients():
    chance = random.Random(1)
    clients = ReturningClients()
    counts = [sum(chance.random() < 0.008 for _ in range(1000)) for _ in range(400)]
    seen = set()
    for number, count in enumerate(counts):
        answer(clients, [max(count, 1)], start=1 + number / 10)
        seen.add(clients.number)

    assert seen == {0}


def test_who_was_not_there_before_the_latest_answer_may_have_left():
    clients = ReturningClients()
    answer(clients, [8] * 40)
    answer(clients, [7], start=2.0)

    assert clients.number == 7


def test_another_number_of_clients_is_known_after_a_few_answers():
    clients = ReturningClients()
    answer(clients, [4] * 40)
    answer(clients, [16] * 6, latest_s=0.002, start=2.0)

    assert clients.number == 16


def test_when_all_but_one_have_left_nobody_is_counted_for_a_while_and_then_one():
    clients = ReturningClients()
    answer(clients, [16] * 40)
    answer(clients, [1], start=2.0)
    soon = clients.number
    answer(clients, [1] * 400, start=3.0)

    assert soon <= 1
    assert clients.number == 1


def test_how_soon_they_return_is_only_seen_when_all_are_back():
    clients = ReturningClients()
    answer(clients, [8] * 40)
    answer(clients, [6] * 3, latest_s=0.015, start=2.0)

    assert clients.return_s == pytest.approx(0.003)
