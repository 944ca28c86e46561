from __future__ import annotations

import json

import pytest

from tsl.frontend.grpc_api.protos import open_inference_pb2 as pb
from tsl.frontend.grpc_api.tensor_messages import parts_of, response_of
from tsl.protocol.errors import InvalidInput, InvalidOutput
from tsl.protocol.tensors import INLINE_BASE64_TYPE, TENSORS_TYPE, frame


def request_of(datatype, shape, raw=(), **contents):
    request = pb.ModelInferRequest(model_name="m", id="1", raw_input_contents=raw)
    request.parameters["top_k"].int64_param = 3
    request.outputs.add(name="y").parameters["flag"].bool_param = True
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return request


def answer(body, *, is_framed=False, wants_raw=False, request_id=""):
    return response_of(
        body,
        is_framed=is_framed,
        wants_raw=wants_raw,
        request_id=request_id,
        name="m",
        version="2",
    )


def document(*outputs, **more):
    return json.dumps({"outputs": list(outputs), **more}).encode()


def output(datatype, shape, **more):
    return {"name": "y", "datatype": datatype, "shape": shape, **more}


# -- requests


def test_a_model_of_json_gets_what_torchserve_sends():
    body, values = parts_of(request_of("INT32", [2], int_contents=[1, 2]), takes_tensors=False)

    assert json.loads(body.body) == {
        "id": "1",
        "model_name": "m",
        "inputs": [
            {
                "name": "x",
                "shape": [2],
                "datatype": "INT32",
                "parameters": {"binary_data_size": 8},
            }
        ],
    }
    assert (values.content_type, values.body) == (INLINE_BASE64_TYPE, b"\1\0\0\0\2\0\0\0")


def test_a_model_of_tensors_gets_parameters_and_requested_outputs_too():
    raw = b"1234"

    body, values = parts_of(request_of("FP32", [1], [raw]), takes_tensors=True)

    header = json.loads(body.body)
    assert header["parameters"] == {"top_k": 3}
    assert header["outputs"] == [{"name": "y", "parameters": {"flag": True}}]
    assert values.content_type == TENSORS_TYPE
    assert values.body is raw or values.body == raw


@pytest.mark.parametrize(
    "request_",
    [
        request_of("INT8", [1], int_contents=[128]),
        request_of("UINT8", [1], uint_contents=[256]),
        request_of("INT8", [2], int_contents=[1]),
        request_of("FP32", [1], int_contents=[1]),
        request_of("BF16", [1], fp32_contents=[1.0]),
        request_of("FP32", [1], [b"123"]),
        request_of("BYTES", [1], [b"\1\0\0\0"]),
        request_of("FP32", [-1], [b"1234"]),
        request_of("FP32", [1], [b"1234"], fp32_contents=[1.0]),
        request_of("", [1], [b"1234"]),
    ],
)
def test_a_tensor_that_is_not_valid_is_named(request_):
    for takes_tensors in (True, False):
        with pytest.raises(InvalidInput, match="'x'"):
            parts_of(request_, takes_tensors=takes_tensors)


def test_raw_contents_must_be_as_many_as_inputs():
    with pytest.raises(InvalidInput, match="1 inputs and 2"):
        parts_of(request_of("FP32", [1], [b"1234", b""]), takes_tensors=True)


# -- answers


def test_an_answer_in_json_becomes_typed_contents():
    made = answer(document(output("BYTES", [3], data=["a", {"b": 1}, 2]), id="7"))

    assert list(made.outputs[0].contents.bytes_contents) == [b"a", b'{"b": 1}', b"2"]
    assert (made.id, made.model_name, made.model_version) == ("7", "m", "2")


def test_nested_data_is_flattened():
    made = answer(document(output("INT64", [2, 2], data=[[1, 2], [3, 4]])), request_id="mine")

    assert list(made.outputs[0].contents.int64_contents) == [1, 2, 3, 4]
    assert made.id == "mine"


def test_who_sent_bytes_gets_bytes():
    made = answer(document(output("INT32", [2], data=[1, -1])), wants_raw=True)

    assert list(made.raw_output_contents) == [b"\1\0\0\0\xff\xff\xff\xff"]
    assert not made.outputs[0].HasField("contents")


def test_a_type_without_typed_contents_makes_all_outputs_raw():
    outputs = [
        output("INT8", [1], parameters={"binary_data_size": 1}),
        output("BF16", [1], parameters={"binary_data_size": 2, "scale": 0.5}),
    ]

    made = answer(frame(document(*outputs), [b"\1", b"ab"]), is_framed=True)

    assert list(made.raw_output_contents) == [b"\1", b"ab"]
    assert made.outputs[1].parameters["scale"].double_param == 0.5
    assert "binary_data_size" not in made.outputs[1].parameters


@pytest.mark.parametrize(
    "body",
    [
        b"text",
        b"[1]",
        b"{}",
        document(output("FP7", [1], data=[1])),
        document(output("INT64", [2], data=[1])),
        document(output("INT64", [1], data=["text"])),
        document(output("INT64", [1])),
        b"\xff",
    ],
)
def test_an_answer_of_another_kind_is_the_model_s_fault(body):
    with pytest.raises(InvalidOutput, match="kservev2"):
        answer(body)


def test_two_framed_answers_are_none():
    one = frame(document(), [])

    with pytest.raises(InvalidOutput, match="ModelStreamInfer"):
        answer(one + one, is_framed=True)
