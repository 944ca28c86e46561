import pytest

from tsl.model_store.typed_values import TypedValues


@pytest.fixture
def warnings():
    return []


def values_of(warnings, value):
    return TypedValues({"key": value}, "the file", warnings)


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("integer", 5),
        ("flag", True),
        ("flag", False),
        ("mapping", {"a": 1}),
        ("mapping", {}),
    ],
)
def test_right_types_pass(warnings, method, value):
    assert getattr(values_of(warnings, value), method)("key") == value
    assert warnings == []


def test_lists_of_numbers_become_tuples(warnings):
    assert values_of(warnings, [0, 3]).integers("key") == (0, 3)


def test_words_must_be_among_the_choices(warnings):
    assert values_of(warnings, "b").choice("key", ["a", "b"]) == "b"
    assert values_of(warnings, "c").choice("key", ["a", "b"]) is None
    assert warnings == ["key of the file must be one of a, b, not 'c'; it is ignored"]


def test_numbers_must_reach_the_minimum(warnings):
    values = values_of(warnings, 0)

    assert values.integer("key", minimum=0) == 0
    assert values.integer("key", minimum=1) is None
    assert warnings == ["key of the file must be a whole number from 1 up, not 0; it is ignored"]


@pytest.mark.parametrize("method", ["integer", "flag", "mapping", "integers"])
@pytest.mark.parametrize("values", [{}, {"key": None}], ids=["absent", "null"])
def test_absent_values_are_none_without_a_warning(warnings, method, values):
    assert getattr(TypedValues(values, "the file", warnings), method)("key") is None
    assert warnings == []


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("integer", True),
        ("integer", 1.0),
        ("integer", "1"),
        ("integer", [1]),
        ("flag", 1),
        ("flag", "true"),
        ("mapping", []),
        ("integers", 1),
        ("integers", [1, True]),
        ("integers", [1, -1]),
        ("integers", ["0"]),
    ],
)
def test_wrong_types_are_none_with_a_warning(warnings, method, value):
    assert getattr(values_of(warnings, value), method)("key") is None
    assert len(warnings) == 1
    assert warnings[0].startswith("key of the file must be ")


def test_a_long_value_is_cut_in_the_warning(warnings):
    values_of(warnings, "x" * 10_000).integer("key")

    assert len(warnings[0]) < 200
