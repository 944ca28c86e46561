"""Tensors come back bit for bit, whatever their type, shape and values; bad ones are refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsl.backend.arrays import DTYPES, array_of, output_of
from tsl.backend.tensor_requests import InputTensor, parse_inputs
from tsl.protocol.errors import InvalidInput
from tsl.protocol.tensors import (
    DATATYPES,
    ITEM_SIZES,
    count_of,
    frame,
    join_bytes,
    raw_of,
    split_bytes,
    unframe,
    values_of,
)

shapes = st.lists(st.integers(0, 4), max_size=4)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@st.composite
def tensors(draw):
    """Name, datatype, shape and bytes of a valid tensor."""
    datatype, shape = draw(st.sampled_from(DATATYPES)), draw(shapes)
    size = math.prod(shape)
    if datatype == "BYTES":
        raw = join_bytes(draw(st.lists(st.binary(max_size=6), min_size=size, max_size=size)))
    elif datatype == "BOOL":
        raw = bytes(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    else:
        length = size * ITEM_SIZES[datatype]
        raw = draw(st.binary(min_size=length, max_size=length))
    return draw(st.text(max_size=5)), datatype, shape, raw


@given(tensors())
def test_an_array_has_the_bits_of_its_tensor(tensor):
    name, datatype, shape, raw = tensor
    entry = {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }

    (parsed,) = parse_inputs({"inputs": [entry]}, [bytearray(raw)])
    array = array_of(parsed)
    output = output_of(name, array, "BF16" if datatype == "BF16" else None)

    assert array.shape == tuple(shape)
    assert (output.datatype, output.shape) == (datatype, shape)
    if datatype == "BF16":  # rounding keeps what is exact, but quiets a signalling NaN
        mine, theirs = np.frombuffer(raw, "<u2"), np.frombuffer(output.raw, "<u2")
        is_nan = (mine & 0x7FFF) > 0x7F80
        assert (np.where(is_nan, mine | 0x40, mine) == theirs).all()
    else:
        assert bytes(output.raw) == raw


@given(tensors())
def test_an_array_may_begin_anywhere_and_may_be_written_to(tensor):
    name, datatype, shape, raw = tensor
    buffer = bytearray(b"x" + raw)

    array = array_of(
        InputTensor(name, datatype, shape, math.prod(shape), None, memoryview(buffer)[1:])
    )

    assert array.flags.aligned
    assert array.flags.writeable


@given(tensors())
def test_values_have_the_bits_of_their_tensor(tensor):
    name, datatype, shape, raw = tensor
    size = count_of(name, datatype, shape)

    again = raw_of(datatype, values_of(name, datatype, size, raw))

    if datatype in ("FP16", "BF16", "FP32"):  # a Python float cannot be a signalling NaN
        kind = {"FP16": "<f2", "FP32": "<f4"}.get(datatype)
        if kind is None:
            mine, theirs = (
                (np.frombuffer(each, "<u2").astype("<u4") << 16).view("<f4")
                for each in (raw, again)
            )
        else:
            mine, theirs = np.frombuffer(raw, kind), np.frombuffer(again, kind)
        np.testing.assert_array_equal(mine, theirs)
        assert (np.signbit(mine) == np.signbit(theirs)).all()
    else:
        assert again == raw


@given(tensors())
def test_the_values_of_a_document_are_those_of_the_bytes(tensor):
    name, datatype, shape, raw = tensor
    if datatype == "BYTES":
        return
    size = math.prod(shape)
    values = values_of(name, datatype, size, raw)

    array = array_of(InputTensor(name, datatype, shape, size, values, None))

    np.testing.assert_array_equal(
        array, array_of(InputTensor(name, datatype, shape, size, None, bytearray(raw)))
    )


@given(st.sampled_from(DATATYPES), st.lists(st.integers(-2, 2**70), max_size=40), st.binary())
def test_bytes_of_any_size_are_refused_or_fit(datatype, shape, raw):
    entry = {
        "name": "the one",
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }

    refusal = None
    try:
        (tensor,) = parse_inputs({"inputs": [entry]}, [raw])
        array = array_of(tensor)
    except InvalidInput as error:
        refusal = str(error)
    assert "'the one'" in refusal if refusal else list(array.shape) == shape


@given(st.dictionaries(st.sampled_from(["inputs", "parameters", "x"]), anything), st.binary())
def test_a_document_of_any_kind_is_refused_as_such(document, tail):
    with pytest.raises(InvalidInput):
        parse_inputs(json.loads(json.dumps(document)), [tail])


@given(
    st.fixed_dictionaries(
        {"name": st.just("x"), "shape": anything, "datatype": st.sampled_from(DATATYPES)},
        optional={"data": anything, "parameters": anything},
    ),
    st.binary(),
)
def test_an_input_of_any_kind_is_refused_or_becomes_an_array(entry, tail):
    try:
        (tensor,) = parse_inputs({"inputs": [entry]}, [tail])
        array_of(tensor)
    except InvalidInput:
        pass


@given(st.integers(0, 5), st.binary())
def test_elements_are_split_completely_or_not_at_all(count, raw):
    try:
        items = split_bytes("x", count, raw)
    except InvalidInput:
        return
    assert len(items) == count
    assert join_bytes(items) == raw


@given(st.binary(), st.lists(st.binary(), max_size=3))
def test_a_frame_keeps_its_parts(header, segments):
    first, rest = unframe(frame(header, segments))

    assert (bytes(first), bytes(rest)) == (header, b"".join(segments))


@given(st.binary(max_size=40))
def test_what_is_no_frame_is_refused(body):
    try:
        first, rest = unframe(body)
    except ValueError:
        return
    assert len(first) + len(rest) + 12 == len(body)


def test_every_type_but_two_has_a_dtype():
    assert {*DTYPES, "BYTES", "BF16"} == set(DATATYPES)
