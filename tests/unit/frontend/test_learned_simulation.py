"""A learned policy beside fixed settings, in simulated time: see ``python -m benchmarks.policies``."""

from __future__ import annotations

import pytest

from benchmarks.policies.scenarios import FIXED, LEARNED, LOADS, MODELS, line
from benchmarks.policies.simulation import Simulation
from tsl.frontend.batching import BatchPolicy

BY_NAME = {setting.name: setting for setting in FIXED}


def rate(setting, load, model, workers=1):
    simulation = Simulation(setting, LOADS[load], MODELS[model], workers, seed=1)
    return simulation.run(3, warm_up_s=10).rate


@pytest.mark.parametrize(
    ("model", "load", "best"),
    [
        ("sublinear 9+1n", "1 client", "batch 1"),
        ("sublinear 9+1n", "2 clients", "window 2, 100 ms"),
        ("sublinear 9+1n", "16 clients", "window 16, 100 ms"),
        ("sublinear 9+1n", "48 clients", "window 32, 100 ms"),
        ("fixed cost 20+0.1n", "8 slow clients", "window 8, 100 ms"),
        ("sublinear 9+1n", "8 slow clients", "window 8, 100 ms"),
        ("quick 0.3+0.02n", "2 clients", "window 2, 1 ms"),
        ("quick 0.3+0.02n", "16 clients", "window 16, 1 ms"),
        ("knee at 8, 4+2n", "16 clients", "eager 8"),
        ("linear 10n", "8 clients", "batch 1"),
        ("steps of 8, 10 ms", "16 clients", "eager 8"),
    ],
)
def test_requests_per_second_are_those_of_the_best_fixed_setting(model, load, best):
    assert rate(LEARNED, load, model) >= 0.95 * rate(BY_NAME[best], load, model)


@pytest.mark.parametrize(
    ("load", "best"),
    [
        ("2 clients", "window 2, 1 ms"),
        ("8 clients", "window 8, 100 ms"),
        ("16 clients", "window 16, 100 ms"),
        ("48 clients", "window 32, 100 ms"),
    ],
)
def test_a_model_that_gains_from_batches_all_at_once_is_noticed(load, best):
    drifting = MODELS["drifting 0+10n to 9+1n"]

    def answered(setting):  # from one second after the change on
        return Simulation(setting, LOADS[load], drifting, seed=1).run(4, warm_up_s=6).rate

    assert answered(LEARNED) >= 0.95 * answered(BY_NAME[best])


@pytest.mark.parametrize("model", ["sublinear 9+1n", "fixed cost 20+0.1n", "quick 0.3+0.02n"])
def test_nobody_waits_for_clients_that_have_left(model):
    load = LOADS["16 clients, then 1"]

    def answered(setting):
        return Simulation(setting, load, MODELS[model], seed=1).run(3, warm_up_s=6.1).rate

    assert answered(LEARNED) >= 0.97 * answered(BY_NAME["batch 1"])


@pytest.mark.parametrize("load", ["1 client", "2 clients", "8 clients"])
@pytest.mark.parametrize("model", [name for name in MODELS if "quick" not in name])
def test_it_is_not_worse_than_no_batches(model, load):
    assert rate(LEARNED, load, model) >= 0.97 * rate(BY_NAME["batch 1"], load, model)


@pytest.mark.parametrize("model", ["sublinear 9+1n", "linear 10n", "noisy 9+1n"])
def test_requests_that_know_nothing_of_each_other_wait_no_longer_than_needed(model):
    load = LOADS["Poisson 20/s"]
    learned = Simulation(LEARNED, load, MODELS[model], seed=1).run(10, warm_up_s=6)
    alone = Simulation(BY_NAME["batch 1"], load, MODELS[model], seed=1).run(10, warm_up_s=6)

    assert learned.mean_s <= 1.05 * alone.mean_s


@pytest.mark.parametrize(
    ("model", "best"),
    [
        ("steps of 8, 10 ms", "window 8, 1 ms"),
        ("half and half 5+5n", "window 4, 1 ms"),
        ("linear 10n", "batch 1"),
    ],
)
def test_bursts_are_served_in_batches_that_answer_soon(model, best):
    load = LOADS["bursts of 12"]

    def mean_s(setting):
        return Simulation(setting, load, MODELS[model], seed=1).run(6, warm_up_s=6).mean_s

    assert mean_s(LEARNED) <= mean_s(BY_NAME[best]) / 0.95


def test_a_model_slower_than_the_delay_has_batches_all_the_same():
    """Who has waited behind a busy worker has not waited for company."""
    load, model = LOADS["8 clients"], line(200, 20)

    def answered(setting):
        return Simulation(setting, load, model, seed=1).run(10, warm_up_s=20).rate

    assert answered(LEARNED) >= 0.95 * answered(BY_NAME["window 8, 100 ms"])


def test_two_workers_share_the_load():
    learned = rate(LEARNED, "16 clients", "sublinear 9+1n", workers=2)

    assert learned >= 0.95 * rate(BY_NAME["window 8, 100 ms"], "16 clients", "sublinear 9+1n", 2)
    assert LEARNED.policy is BatchPolicy.LEARNED
