"""One option followed by many values, as TorchServe's scripts write it."""

from __future__ import annotations

import pytest

from tsl.cli.options import join_models, repeat_option


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("--models a b", "--models a --models b", id="two words"),
        pytest.param("--models a --ncs b", "--models a --ncs b", id="ends at the next option"),
        pytest.param("--models=a b", "--models=a --models b", id="equals, then words"),
        pytest.param("--models a --models b", "--models a --models b", id="repeated"),
        pytest.param("--models --ncs", "--ncs", id="no value"),
        pytest.param("--ncs --models x=y.mar", "--ncs --models x=y.mar", id="last"),
        pytest.param("--model-store d", "--model-store d", id="similar name"),
    ],
)
def test_the_option_is_repeated_before_each_value(given, expected):
    assert repeat_option(given.split(), "--models") == expected.split()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a.mar", "b=c.mar"], "a.mar,b=c.mar"),
        (["a.mar,b.mar", " c.mar "], "a.mar,b.mar,c.mar"),
        (["all"], "all"),
        (["", ","], ""),
        ([], ""),
    ],
)
def test_values_are_joined_as_the_property_writes_them(values, expected):
    assert join_models(values) == expected
