"""JSON with many numbers: as the standard library, but quicker."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsl.backend import json_text

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def same(left, right):
    return repr(left) == repr(right)  # tells 1 from 1.0 and from True, and knows NaN


@given(VALUES)
def test_what_is_read_is_what_the_standard_library_reads(value):
    text = json.dumps(value)

    assert same(json_text.parse(text.encode()), json.loads(text))


@given(VALUES)
def test_what_is_written_is_read_as_the_same(value):
    assert same(json.loads(json_text.compact(value)), json.loads(json.dumps(value)))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_text_may_come_in_any_buffer(kind):
    assert json_text.parse(kind(b'{"a": [1, NaN]}')).keys() == {"a"}


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": 01}', b"[" * 200_000, b"\xff"])
def test_what_is_no_json_is_an_error(text):
    with pytest.raises((ValueError, RecursionError)):
        json_text.parse(text)


@pytest.mark.parametrize("values", [[1.5, math.nan], [math.inf], [-math.inf, 0.1]])
def test_arrays_with_values_that_are_no_numbers_are_written_as_python_does(values):
    text = json_text.compact({"data": np.array(values)})

    assert same(json.loads(text)["data"], values)


def test_arrays_of_all_kinds_are_lists():
    arrays = [np.arange(2, dtype=kind) for kind in ("?", "i1", "u1", "<i8", "<u8", "<f4", "<f8")]

    assert json.loads(json_text.compact(arrays)) == [each.tolist() for each in arrays]


def test_text_that_says_null_stays_text():
    assert json_text.compact({"null": "null"}) == b'{"null":"null"}'


def test_what_json_has_no_form_for_is_an_error():
    with pytest.raises(TypeError, match="object"):
        json_text.compact({"a": object()})
