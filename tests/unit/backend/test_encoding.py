"""How a result element becomes bytes."""

import sys
from enum import StrEnum
from types import SimpleNamespace

import pytest

from tsl.backend.encoding import UNSUPPORTED, encode_element
from tsl.protocol.errors import InvalidOutput, ResponseTooLarge

LIMIT = 1000


class Colour(StrEnum):
    RED = "red"


class BrokenDict(dict):
    def items(self):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"abc"), b"abc"),
        pytest.param(memoryview(b"abc")[::2], b"ac", id="every other byte"),
        pytest.param(memoryview(b"abcd").cast("H"), b"abcd", id="items of two bytes"),
        ("grüß ☃", "grüß ☃".encode()),
        ("", b""),
        (Colour.RED, b"red"),
        ({"b": 2, "a": [1, None]}, b'{\n  "b": 2,\n  "a": [\n    1,\n    null\n  ]\n}'),
        ({"é": "☃"}, b'{\n  "\\u00e9": "\\u2603"\n}'),
        ({1: "one"}, b'{\n  "1": "one"\n}'),
        ([], b"[]"),
        ({}, b"{}"),
        ((1, 2), b"[\n  1,\n  2\n]"),
        (None, b"null"),
        (True, b"true"),
        (42, b"42"),
        (0.5, b"0.5"),
        (float("nan"), b"NaN"),
        (float("inf"), b"Infinity"),
    ],
    ids=repr,
)
def test_values_and_their_bytes(value, expected):
    assert bytes(encode_element(value, LIMIT)) == expected


def cycle():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [{1}, object(), {"a": {1}}, {(1, 2): 3}, cycle(), "\ud800", 1j, BrokenDict(a=1)],
    ids=["set", "object", "nested-set", "tuple-key", "cycle", "surrogate", "complex", "raises"],
)
def test_what_has_no_encoding_is_an_invalid_output(value):
    with pytest.raises(InvalidOutput) as caught:
        encode_element(value, LIMIT)

    assert str(caught.value) == UNSUPPORTED


def test_an_answer_of_exactly_the_limit_is_sent():
    assert encode_element(b"x" * LIMIT, LIMIT) == b"x" * LIMIT


def test_a_longer_answer_is_refused_with_both_sizes():
    with pytest.raises(ResponseTooLarge, match=r"has 1001 bytes, max_response_size is 1000"):
        encode_element(b"x" * (LIMIT + 1), LIMIT)


def test_running_out_of_memory_is_not_an_invalid_output():
    class Hungry(dict):
        def items(self):
            raise MemoryError

    with pytest.raises(MemoryError):
        encode_element(Hungry(a=1), LIMIT)


class FakeTensor:
    """Stands for ``torch.Tensor``, so that the test does not import torch."""


def test_a_tensor_becomes_what_torch_saves(monkeypatch):
    fake_torch = SimpleNamespace(
        Tensor=FakeTensor, save=lambda value, target: target.write(b"saved")
    )
    monkeypatch.setitem(sys.modules, "torch", fake_torch)

    assert encode_element(FakeTensor(), LIMIT) == b"saved"


def test_encoding_does_not_import_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    encode_element({"a": 1}, LIMIT)

    assert "torch" not in sys.modules
