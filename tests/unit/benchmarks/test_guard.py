from __future__ import annotations

import pytest

from benchmarks import guard

COSTS = {"yardstick": 100.0, "echo, batch 1": 1630.0, "echo, batch 32": 810.0}
COSTS["tensors, batch 32"] = 1250.0
EXACT = {
    (kind, rounds): round(1000 + rounds * cost)
    for kind, cost in COSTS.items()
    for rounds in (guard.FEW, guard.MORE)
}


def test_what_every_run_does_is_left_out():
    assert guard.ratios(EXACT) == pytest.approx(
        {"echo, batch 1": 16.3, "echo, batch 32": 8.1, "tensors, batch 32": 12.5}
    )


def test_what_a_request_costs_now_is_within_its_budget():
    assert guard.excess(dict(guard.BUDGETS)) == {}


def test_a_dearer_request_is_found():
    dear = guard.BUDGETS["echo, batch 1"] * guard.TOLERANCE + 0.01

    assert guard.excess({**guard.BUDGETS, "echo, batch 1": dear}) == {"echo, batch 1": dear}
