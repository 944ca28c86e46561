"""Tests for tsl.frontend.raw_requests."""

import json

import pytest

from tsl.frontend.raw_requests import with_document
from tsl.protocol.errors import InvalidRequest


def declared(datatype, *shape):
    return {"name": "x", "datatype": datatype, "shape": list(shape)}


def cut(inputs, body):
    length, whole = with_document(inputs, body)
    document = json.loads(whole[:length])
    (tensor,) = document["inputs"]
    tail = whole[length:]
    assert tensor["parameters"]["binary_data_size"] == len(tail)
    assert document["parameters"] == {"binary_data_output": True}
    return tensor["shape"], tail


@pytest.mark.parametrize(
    ("entry", "body", "shape"),
    [
        (declared("FP32", -1), bytes(12), [3]),
        (declared("INT16", 2, -1, 3), bytes(24), [2, 2, 3]),
        (declared("UINT8", 2, 2), bytes(4), [2, 2]),
        (declared("FP64", -1), b"", [0]),
        (declared("INT8"), b"1", []),
    ],
)
def test_the_open_dimension_is_what_the_bytes_fill(entry, body, shape):
    assert cut([entry], body) == (shape, body)


def test_bytes_are_one_element():
    assert cut([declared("BYTES", -1)], b"abc") == ([1], b"\3\0\0\0abc")
    assert cut([declared("BYTES", 1, 1)], b"") == ([1, 1], b"\0\0\0\0")


@pytest.mark.parametrize(
    ("inputs", "body", "text"),
    [
        ([], b"", "this one has 0"),
        ([declared("INT8", -1), declared("INT8", -1)], b"", "this one has 2"),
        ([declared("FP32", -1)], bytes(5), "'x' has 5 bytes"),
        ([declared("FP32", -1, -1)], bytes(8), "'x'"),
        ([declared("FP32", 3)], bytes(8), "'x'"),
        ([declared("FP32", -1, 3)], bytes(8), "'x'"),
        ([declared("FP32", -1, 0)], bytes(8), "'x'"),
    ],
)
def test_bytes_that_do_not_say_what_they_are_are_refused(inputs, body, text):
    with pytest.raises(InvalidRequest, match=text):
        with_document(inputs, body)
