"""Indented JSON is, byte for byte, what the standard library writes."""

import json
import json.encoder
from collections import OrderedDict, UserString, namedtuple
from enum import IntEnum, StrEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tsl.backend import indented_json


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Celsius(float):
    def __repr__(self):
        return "warm"


class Shout(str):
    __slots__ = ()


class Numbers(list):
    pass


Point = namedtuple("Point", "x y")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30, max_value=10**60),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.sampled_from(["\ud800", '"\\\n\x7f', "☃", ""]),
)
subclasses = st.sampled_from(
    [Colour.RED, Level.HIGH, Celsius(21.5), Shout("é"), Point(1, [2]), Numbers([1, 2]), Numbers()]
)
keys = st.one_of(scalars, st.sampled_from([Colour.RED, Level.HIGH, Celsius(1), Shout("k")]))


def containers(values):
    return st.one_of(
        st.lists(values, max_size=4),
        st.lists(values, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), values, max_size=4),
        st.dictionaries(keys, values, max_size=4),
        st.dictionaries(st.text(max_size=4), values, max_size=2).map(OrderedDict),
    )


documents = st.recursive(st.one_of(scalars, subclasses), containers, max_leaves=30)


@given(documents)
@example({"boxes": [[1.5, 2], []], "label": "cat", "score": float("nan"), "more": {}})
@example({1: [], None: 2})
@example({False: 1, 1: 2, None: 3, 0.5: float("-inf")})
def test_it_is_what_the_standard_library_writes(value):
    assert indented_json.to_json(value) == json.dumps(value, indent=2)


@given(documents)
def test_it_is_so_without_the_encoder_in_c(value):
    made = json.encoder.c_make_encoder
    json.encoder.c_make_encoder = None
    indented_json._layout.cache_clear()
    try:
        assert indented_json.to_json(value) == json.dumps(value, indent=2)
    finally:
        json.encoder.c_make_encoder = made
        indented_json._layout.cache_clear()


def nested(depth):
    value = {"end": 1}
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [62, 63, 64, 65, 200])
def test_so_it_is_however_deep(depth):
    assert indented_json.to_json(nested(depth)) == json.dumps(nested(depth), indent=2)


def circle_of_lists():
    value = [1]
    value.append({"again": value})
    return value


def circle_of_dicts():
    value = {"a": 1}
    value["b"] = [value, value]
    return value


@pytest.mark.parametrize(
    "make",
    [
        circle_of_lists,
        circle_of_dicts,
        lambda: nested(100_000),
        lambda: [UserString("text")],
        lambda: {"a": {1, 2}},
        lambda: {(1, 2): 3},
        lambda: {(1, 2): [3]},
        lambda: [10**5000],
        lambda: [[10**5000], "mixed"],
    ],
    ids=[
        "circle of lists",
        "circle of dicts",
        "too deep",
        "no JSON in a list",
        "no JSON in a dict",
        "key of a flat dict",
        "key of a deep dict",
        "digits",
        "digits of a mixed list",
    ],
)
def test_what_the_standard_library_refuses_is_refused_alike(make):
    value = make()
    with pytest.raises((TypeError, ValueError, RecursionError)) as expected:
        json.dumps(value, indent=2)

    with pytest.raises(expected.type) as refused:
        indented_json.to_json(value)

    assert str(refused.value) == str(expected.value)
