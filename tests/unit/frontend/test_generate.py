"""Tests for tsl.frontend.generate."""

import json

import pytest

from tsl.frontend.generate import AnswerReader, Form, Joined, encode, model_input, parse_request
from tsl.protocol.errors import InvalidRequest

DECLARED = [
    {"name": "text_input", "datatype": "BYTES", "shape": [1]},
    {"name": "images", "datatype": "FP32", "shape": [-1, 2]},
]


@pytest.mark.parametrize(
    ("input_format", "envelope", "form"),
    [
        ("tensors", "kserve", Form.TENSORS),
        (None, "kservev2", Form.TENSORS),
        (None, "kserve", Form.INSTANCES),
        (None, "json", Form.INSTANCES),
        (None, "body", Form.PLAIN),
        (None, "", Form.PLAIN),
    ],
)
def test_what_a_model_takes_decides_the_form(input_format, envelope, form):
    assert Form.of(input_format, envelope) is form


def test_a_plain_handler_gets_the_members_and_the_usual_names():
    document = {"text_input": "hi", "id": "7", "parameters": {"max_tokens": 3, "id": "x"}}

    assert model_input(document, Form.PLAIN, []) == {**document, "prompt": "hi", "max_tokens": 3}
    assert model_input({"prompt": "a", "text_input": "b"}, Form.PLAIN, [])["prompt"] == "a"
    assert model_input({"a": 1}, Form.INSTANCES, []) == {"instances": [{"a": 1}]}


def test_inputs_are_what_is_declared_and_the_rest_are_parameters():
    document = {
        "id": 7,
        "text_input": "hi",
        "images": [[1, 2], [3, 4]],
        "stream": True,
        "parameters": {"temperature": 0.5},
    }

    made = model_input(document, Form.TENSORS, DECLARED)

    assert made == {
        "id": "7",
        "inputs": [
            {"name": "text_input", "datatype": "BYTES", "shape": [1], "data": ["hi"]},
            {"name": "images", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]},
        ],
        "parameters": {"temperature": 0.5, "stream": True},
    }


@pytest.mark.parametrize(
    ("value", "shape"), [(5, [1, 1]), ([5, 6], [1, 2]), ([], [1, 0]), ([[[1]]], [1, 1, 1])]
)
def test_a_value_has_at_least_the_declared_rank(value, shape):
    (made,) = model_input({"images": value}, Form.TENSORS, DECLARED)["inputs"]

    assert made["shape"] == shape


@pytest.mark.parametrize("value", [[1], {"a": 1}, None])
def test_what_is_neither_input_nor_parameter_is_refused(value):
    with pytest.raises(InvalidRequest, match="'other'"):
        model_input({"other": value}, Form.TENSORS, DECLARED)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 9999, b'{"parameters": [1]}', b'{"id": []}']
)
def test_requests_that_are_not_valid_are_refused(body):
    with pytest.raises(InvalidRequest):
        parse_request(body)


@pytest.mark.parametrize(
    ("body", "members"),
    [
        (b"", {"text_output": ""}),
        (b"some text", {"text_output": "some text"}),
        (b"12", {"text_output": "12"}),
        (b"[1]", {"text_output": "[1]"}),
        (b'{"text_output": "a", "n": 1}', {"text_output": "a", "n": 1}),
        (b'{"text": "a", "n": 1}', {"text_output": "a", "text": "a", "n": 1}),
        (b'{"generated_text": "a"}', {"text_output": "a", "generated_text": "a"}),
        (b'{"predictions": ["a"]}', {"text_output": "a"}),
        (b'{"predictions": [{"x": 1}]}', {"x": 1}),
        (b'{"outputs": [{"name": "y", "data": [1]}, {"name": "z", "data": [1, 2]}]}',
         {"y": 1, "z": [1, 2]}),
        (b'{"outputs": [1]}', {"outputs": [1]}),
        (b'{"outputs": [{"name": "y"}]}', {"outputs": [{"name": "y"}]}),
        (b"\xff", {"text_output": "\ufffd"}),
    ],
)  # fmt: skip
def test_answers_of_any_kind_become_members(body, members):
    read = AnswerReader({"model_name": "m"}).read(body, is_last=True)

    assert read == {"model_name": "m", **members}


def test_text_may_be_cut_within_a_character():
    reader = AnswerReader({})

    texts = [reader.read(piece)["text_output"] for piece in (b"\xc3", b"\xa9\xe2\x82", b"\xac")]

    assert "".join(texts) == "é€"


def test_texts_are_joined_and_of_other_members_the_last_counts():
    joined = Joined()
    for text, number in (("a", 1), ("b", 2)):
        joined.add({"text_output": text, "n": number}, 5)
    joined.add({"done": True}, 5)

    assert joined.whole() == {"text_output": "ab", "n": 2, "done": True}
    assert joined.size_bytes == 15


def test_an_answer_is_one_line_of_json():
    assert encode({"a": "é\n\ud800"}) == '{"a":"é\\n?"}'.encode()
    assert json.loads(encode({"a": [1]})) == {"a": [1]}
