"""``inputFormat: tensors``: rows to arrays, arrays to answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tsl.backend.arrays import output_of
from tsl.backend.context import Context
from tsl.backend.envelopes import load_envelope
from tsl.backend.rows import decode_row
from tsl.protocol.errors import InvalidInput, InvalidOutput
from tsl.protocol.frames import Part, Row
from tsl.protocol.tensors import FRAMED, TENSORS_PART, TENSORS_TYPE, unframe


def tensor(name="x", datatype="INT8", shape=(1,), **more):
    return {"name": name, "datatype": datatype, "shape": list(shape), **more}


def row(*inputs, tail=b"", properties=(), **document):
    body = json.dumps({"inputs": list(inputs), **document}).encode()
    parts = [Part("body", "application/json", body)]
    if tail or properties:  # whatever has properties came with tensors
        parts.append(Part(TENSORS_PART, TENSORS_TYPE, tail))
    return Row("id", [], list(properties), parts)


def run(rows, handler=lambda data, context: data, yaml=None):
    context = Context("m", ".", None, 8, None, "0", model_yaml_config=yaml or {})
    context.begin_batch(rows, None)
    answers = load_envelope("tensor_rows")(handler).handle(
        [decode_row(each) for each in rows], context
    )
    return answers, context


def test_a_handler_gets_a_dict_of_arrays_for_each_request():
    seen = []

    def handler(data, context):
        seen.extend(data)
        assert context.input_parameters == [{"k": 1}, {}]
        return data

    answers, context = run(
        [
            row(tensor(shape=(2,), data=[1, 2]), parameters={"k": 1}),
            row(tensor("y", parameters={"binary_data_size": 1}), tail=b"\7"),
        ],
        handler,
    )

    assert [list(each) for each in seen] == [["x"], ["y"]]
    assert seen[0]["x"].tolist() == [1, 2]
    assert seen[1]["y"].dtype == np.int8
    assert json.loads(answers[1])["outputs"][0]["data"] == [7]
    assert context.get_response_content_type(0) == "application/json"


def test_a_handler_that_changes_parameters_changes_its_own():
    seen = []

    def handler(data, context):
        for each in context.input_parameters:
            seen.append(each.copy())
            each["k"] = 2
        return data

    same = row(tensor(parameters={"binary_data_size": 1}), tail=b"\7", parameters={"k": 1})
    run([same, same], handler)

    assert seen == [{"k": 1}, {"k": 1}]


def test_a_bad_row_is_refused_alone():
    answers, _ = run([row(tensor(data=[1])), row(tensor(data=[1000])), row(tensor(data=[3]))])

    assert isinstance(answers[1], InvalidInput)
    assert [json.loads(answers[n])["outputs"][0]["data"] for n in (0, 2)] == [[1], [3]]


def test_an_output_that_cannot_be_sent_fails_its_row_alone():
    def handler(data, context):
        return [{"y": 1j}, {"y": [1]}]

    answers, _ = run([row(tensor(data=[1])), row(tensor(data=[1]))], handler)

    assert isinstance(answers[0], InvalidOutput)
    assert json.loads(answers[1])["outputs"][0]["data"] == [1]


@pytest.mark.parametrize("result", [[{}, {}], "text", {"y": [1]}])
def test_a_result_that_is_no_list_of_so_many_is_the_handler_s_fault(result):
    with pytest.raises(InvalidOutput, match="list of 1"):
        run([row(tensor(data=[1]))], lambda data, context: result)


def test_an_element_that_is_no_dict_fails_its_row_alone():
    answers, _ = run(
        [row(tensor(data=[1])), row(tensor(data=[2]))], lambda data, context: [[1], data[1]]
    )

    assert isinstance(answers[0], InvalidOutput)
    assert json.loads(answers[1])["outputs"][0]["data"] == [2]


def test_outputs_are_binary_where_the_request_says_so():
    request = row(
        tensor("a", data=[1]),
        tensor("b", data=[2]),
        parameters={"binary_data_output": True},
        outputs=[{"name": "b", "parameters": {"binary_data": False}}, {"name": "a"}],
    )

    (body,), context = run([request])

    length = int(context.get_response_headers(0)["Inference-Header-Content-Length"])
    b, a = json.loads(body[:length])["outputs"]
    assert (b["name"], b["data"]) == ("b", [2])
    assert (a["name"], a["parameters"]) == ("a", {"binary_data_size": 1})
    assert body[length:] == b"\1"


def test_an_answer_may_be_framed():
    (body,), _ = run([row(tensor(data=[5]), properties=[FRAMED, "True"], id="7")])

    header, rest = unframe(body)
    assert json.loads(bytes(header))["id"] == "7"
    assert bytes(rest) == b"\5"


def test_a_client_s_header_does_not_frame_its_answer():
    forged = row(tensor(data=[5]))._replace(headers=[FRAMED.encode(), b"True"])

    (body,), _ = run([forged])

    assert json.loads(body)["outputs"][0]["data"] == [5]


def test_an_output_that_is_not_there_is_named():
    (answer,), _ = run([row(tensor(data=[5]), outputs=[{"name": "z"}])])

    assert isinstance(answer, InvalidInput)
    assert "'z'" in str(answer)


@pytest.mark.parametrize(
    ("value", "declared", "datatype", "raw"),
    [
        (np.array([1], ">i2"), None, "INT16", b"\1\0"),
        (np.arange(4, dtype=np.uint8).reshape(2, 2).T, None, "UINT8", b"\0\2\1\3"),
        (torch.tensor([1.0], dtype=torch.bfloat16, requires_grad=True), None, "BF16", b"\x80\x3f"),
        (torch.tensor([[1], [2]], dtype=torch.int32).T, None, "INT32", b"\1\0\0\0\2\0\0\0"),
        ([1.0], "BF16", "BF16", b"\x80\x3f"),
        ([1, 2], "INT8", "INT8", b"\1\2"),
        (True, None, "BOOL", b"\1"),
        ("text", None, "BYTES", b"\4\0\0\0text"),
        ([b"a\0", "b"], None, "BYTES", None),
        (np.array([], np.float64), None, "FP64", b""),
    ],
)
def test_outputs_of_many_kinds(value, declared, datatype, raw):
    if raw is None:
        value, raw = np.array(value, object), b"\2\0\0\0a\0\1\0\0\0b"

    output = output_of("y", value, declared)

    assert output.datatype == datatype
    assert bytes(output.raw) == raw


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (np.array([1j]), None),
        (np.array([object()]), None),
        ([[1], [1, 2]], None),
        (np.array([1.5]), "INT8"),
        (np.array(["a"]), "FP32"),
        (np.array([1], "datetime64[s]"), None),
    ],
)
def test_outputs_that_the_protocol_does_not_have(value, declared):
    with pytest.raises(InvalidOutput, match="'y'"):
        output_of("y", value, declared)


def test_a_handler_may_name_the_classes():
    asked = [{"name": "y", "parameters": {"classification": 2}}]
    scores = {"cat": np.float32(0.25), "dog": 0.5, "cow": 0}

    answers, _ = run(
        [row(tensor(data=[1]), outputs=asked), row(tensor(data=[1]))],
        lambda data, context: [{"y": scores} for _ in data],
    )

    ranked, plain = (json.loads(each)["outputs"][0] for each in answers)
    assert ranked == {
        "name": "y",
        "datatype": "BYTES",
        "shape": [2],
        "data": ["0.500000:1:dog", "0.250000:0:cat"],
    }
    assert plain["data"] == [0.25, 0.5, 0.0]


@pytest.mark.parametrize("scores", [{"cat": "much"}, {"cat": [1]}])
def test_named_classes_without_scores_are_refused(scores):
    asked = [{"name": "y", "parameters": {"classification": 2}}]

    answers, _ = run([row(tensor(data=[1]), outputs=asked)], lambda data, context: [{"y": scores}])

    assert isinstance(answers[0], InvalidInput)


def test_classes_of_an_output_are_its_best_scores_by_name():
    outputs = [{"name": "y", "parameters": {"classification": 2}}, {"name": "z"}]
    answers, _ = run(
        [row(tensor(data=[1]), outputs=outputs), row(tensor(data=[1]))],
        lambda data, context: [{"y": [1, 3, 2], "z": [1]} for _ in data],
        {"outputs": [{"name": "y", "labels": ["a", "b", "c"]}]},
    )

    ranked, plain = (json.loads(each)["outputs"] for each in answers)
    assert ranked[0] == {"name": "y", "datatype": "BYTES", "shape": [2], "data": ["3:1:b", "2:2:c"]}
    assert ranked[1]["data"] == [1]
    assert plain[0]["data"] == [1, 3, 2]


@pytest.mark.parametrize("values", [[1e39, -1e39], [1e39, 1], [70000.0, -0.0]])
@pytest.mark.parametrize("datatype", ["FP16", "FP32"])
def test_floats_beyond_the_range_are_infinite(values, datatype):
    seen = []

    def handler(data, context):
        seen.append(data[0]["x"])
        return [{"y": [1]}]

    run([row(tensor(datatype=datatype, shape=(2,), data=values))], handler)

    with np.errstate(over="ignore"):
        expected = np.array(values, {"FP16": "f2", "FP32": "f4"}[datatype])
    assert seen[0].tolist() == expected.tolist()
    assert seen[0].flags.writeable
