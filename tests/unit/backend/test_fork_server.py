"""What a forked child puts right in itself, and what it leaves alone."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import pytest

from tsl.backend.fork_server import _reseed, _set_threads


@pytest.mark.parametrize(
    ("wanted", "calls"),
    [("3", [3]), ("2", []), ("0", []), ("", []), ("many", [])],
    ids=["another number", "the same number", "none", "unset", "nonsense"],
)
def test_threads_are_set_only_where_that_changes_something(monkeypatch, wanted, calls):
    set_to = []
    torch = SimpleNamespace(get_num_threads=lambda: 2, set_num_threads=set_to.append)
    monkeypatch.setitem(sys.modules, "torch", torch)

    _set_threads(wanted)

    assert set_to == calls


def test_every_generator_that_exists_gets_a_seed(monkeypatch):
    seeded = []
    generator = SimpleNamespace(seed=lambda: seeded.append("torch"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(default_generator=generator))
    numpy_random = SimpleNamespace(seed=lambda: seeded.append("numpy"))
    monkeypatch.setitem(sys.modules, "numpy.random", numpy_random)
    random.seed(0)
    state = random.getstate()

    _reseed()

    assert sorted(seeded) == ["numpy", "torch"]
    assert random.getstate() != state


def test_no_generator_is_imported_for_its_seed(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy.random", raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    _reseed()

    assert "numpy.random" not in sys.modules
    assert "torch" not in sys.modules
