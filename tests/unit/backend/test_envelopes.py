"""Request envelopes: what handlers see, what clients get, whose mistake an error is."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from tsl.backend.envelopes import load_envelope
from tsl.backend.envelopes.tensors import flatten, reshape
from tsl.protocol.errors import InvalidInput, InvalidOutput, LoadFailed


class FakeContext:
    """The part of a context that envelopes use."""

    model_name = "registered"

    def __init__(self, explain=False):
        self.manifest = {"model": {"modelName": "kv", "modelVersion": "2.0"}}
        self.explain = explain

    def get_request_header(self, idx, key):
        return str(self.explain) if key == "explain" else None

    def get_request_id(self, idx=0):
        return f"request-{idx}"


def run(name, data, handler=lambda data, context: data, context=None):
    return load_envelope(name)(handler).handle(data, context or FakeContext())


def tensor(data, shape=None, datatype="INT64", name="x"):
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def v2_row(*inputs, **members):
    return {"body": {"inputs": list(inputs), **members}}


def data_of(inputs, context):
    return [each["data"] for each in inputs]


# -- all envelopes ------------------------------------------------------------------------


def test_unknown_envelope_is_refused_with_the_known_names():
    with pytest.raises(LoadFailed, match="kservev2"):
        load_envelope("soap")


@pytest.mark.parametrize("name", ["base", "body", "json", "kserve", "kservev2"])
@pytest.mark.parametrize("nothing", [[], None])
def test_empty_batches_and_results_pass_through(name, nothing):
    seen = []

    result = run(name, [], lambda data, context: seen.append(data) or nothing)

    assert result == nothing
    assert seen == [[]]


def test_base_changes_nothing():
    rows = [{"body": 1}, {"data": 2}]

    assert run("base", rows) == rows


def test_body_unwraps_data_or_body():
    rows = [{"body": 1}, {"data": b"x", "body": b"y"}, {"data": b"", "body": b"y"}, {}]

    assert run("body", rows) == [1, b"x", b"y", None]


# -- json ------------------------------------------------------------------------------------


def test_json_joins_instances_and_splits_predictions():
    rows = [{"body": {"instances": [1, 2]}}, {"data": b'{"instances": [3]}'}]

    answers = run("json", rows, lambda data, context: [value * 2 for value in data])

    assert answers == ['{"predictions": [2, 4]}', '{"predictions": [6]}']


def test_json_finds_instances_in_the_row_itself():
    assert run("json", [{"instances": [1]}]) == ['{"predictions": [1]}']


def test_json_decodes_base64_instances_and_columns():
    seen = []
    rows = [{"body": {"instances": [{"b64": "aGk="}, {"image": {"b64": "aGk="}, "n": 1}]}}]

    run("json", rows, lambda data, context: seen.extend(data) or [0, 0])

    assert seen == [b"hi", {"image": b"hi", "n": 1}]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"body": {"inputs": [1]}}, id="no-instances"),
        pytest.param({"body": b'{"instances": ['}, id="broken-json"),
        pytest.param({"body": b"[" * 100_000}, id="bottomless-json"),
        pytest.param({"body": [1]}, id="no-object"),
        pytest.param({"body": {"instances": 5}}, id="instances-no-list"),
        pytest.param({"body": {"instances": [{"b64": "a"}]}}, id="bad-base64"),
    ],
)
def test_json_bad_request_is_the_clients_mistake(row):
    with pytest.raises(InvalidInput):
        run("json", [row])


def test_bad_row_fails_alone():
    """The handler sees the good rows; the error stands in the bad one's place."""
    rows = [{"body": {"instances": [1]}}, {"body": {}}, {"body": {"instances": [2, 3]}}]

    first, bad, last = run("json", rows)

    assert (first, last) == ('{"predictions": [1]}', '{"predictions": [2, 3]}')
    assert isinstance(bad, InvalidInput)


def test_batch_of_only_bad_rows_does_not_reach_the_handler():
    def handler(data, context):
        raise AssertionError

    with pytest.raises(InvalidInput):
        run("json", [{"body": {}}, {"body": b"{"}], handler)


def test_json_wrong_number_of_results_is_the_handlers_mistake():
    with pytest.raises(InvalidOutput, match="1 results for 2 inputs"):
        run("json", [{"body": {"instances": [1, 2]}}], lambda data, context: [1])


def test_json_results_that_are_no_json_are_the_handlers_mistake():
    with pytest.raises(InvalidOutput, match="JSON"):
        run("json", [{"body": {"instances": [1]}}], lambda data, context: [object()])


def test_json_takes_arrays():
    answers = run("json", [{"body": {"instances": [1, 2]}}], lambda data, context: np.array([1, 2]))

    assert answers == ['{"predictions": [1, 2]}']


# -- kserve ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("explain", "key"), [(False, "predictions"), (True, "explanations")])
def test_kserve_single_request_gets_all_results(explain, key):
    rows = [{"body": bytearray(b'{"instances": [1, 2]}')}]

    answers = run("kserve", rows, lambda data, context: [sum(data)], FakeContext(explain))

    assert answers == [{key: [3]}]


def test_kserve_batch_is_split_by_instances():
    rows = [{"body": {"instances": [1, 2]}}, {"body": {"instances": [3]}}]

    assert run("kserve", rows) == [{"predictions": [1, 2]}, {"predictions": [3]}]


@pytest.mark.parametrize(
    "body", [{"inputs": [1]}, b'{"instances": [', {"instances": {}}, b"", b"\xff", None]
)
def test_kserve_bad_request_is_the_clients_mistake(body):
    with pytest.raises(InvalidInput):
        run("kserve", [{"body": body}])


# -- kservev2 --------------------------------------------------------------------------------


def test_v2_answers_one_output_for_each_input():
    context = FakeContext()
    row = v2_row(tensor([0.5, 1.5], datatype="FP32", name="a"), tensor([4], name="b"), id="my-1")

    answers = run("kservev2", [row], data_of, context)

    assert answers == [
        {
            "id": "my-1",
            "model_name": "kv",
            "model_version": "2.0",
            "outputs": [
                {"name": "a", "datatype": "FP64", "data": [0.5, 1.5], "shape": [2]},
                {"name": "b", "datatype": "INT64", "data": [4], "shape": [1]},
            ],
        }
    ]
    assert context.input_names == ["a", "b"]
    assert context.input_request_id == "my-1"


@pytest.mark.parametrize("members", [{}, {"id": " "}, {"id": None}])
def test_v2_without_an_id_answers_the_request_id(members):
    context = FakeContext()
    context.input_request_id = "of an earlier call"

    answers = run("kservev2", [v2_row(tensor([1]), **members)], data_of, context)

    assert answers[0]["id"] == "request-0"
    assert not hasattr(context, "input_request_id")


def test_v2_handler_sees_nested_lists_of_the_shape():
    seen = []
    row = v2_row(tensor([1, 2, 3, 4], [2, 2]))

    run("kservev2", [row], lambda data, context: seen.extend(data) or [[0]])

    assert seen == [{"name": "x", "shape": [2, 2], "datatype": "INT64", "data": [[1, 2], [3, 4]]}]


def test_v2_bytes_are_the_first_element():
    answers = run(
        "kservev2",
        [{"body": json.dumps(v2_row(tensor(["hello"], [1], "BYTES"))["body"]).encode()}],
        lambda data, context: [[data[0]["data"].upper()]],
    )

    assert answers[0]["outputs"] == [
        {"name": "x", "datatype": "BYTES", "data": ["HELLO"], "shape": [1]}
    ]


def test_v2_batch_is_split_by_inputs():
    rows = [v2_row(tensor([1]), tensor([2], name="y")), v2_row(), v2_row(tensor([3]), id="c")]

    answers = run("kservev2", rows, data_of)

    assert isinstance(answers.pop(1), InvalidInput)
    outputs = [[each["data"] for each in answer["outputs"]] for answer in answers]
    assert outputs == [[[1], [2]], [[3]]]
    assert [answer["id"] for answer in answers] == ["request-0", "c"]


def test_v2_more_outputs_than_inputs_get_numbered_names():
    answers = run("kservev2", [v2_row(tensor([1]))], lambda data, context: [[1], [2]])

    assert [each["name"] for each in answers[0]["outputs"]] == ["x", "output-1"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"id": "7"}, id="no-inputs"),
        pytest.param({"inputs": {}}, id="inputs-no-list"),
        pytest.param({"inputs": [5]}, id="input-no-object"),
        pytest.param({"inputs": [{"name": "x"}]}, id="members-missing"),
        pytest.param({"inputs": [tensor([1, 2], [5])]}, id="shape-does-not-fit"),
        pytest.param({"inputs": [tensor([1], ["1"])]}, id="shape-of-text"),
        pytest.param({"inputs": [tensor([1], [True])]}, id="shape-of-bool"),
        pytest.param({"inputs": [tensor([1], [-2])]}, id="negative-size"),
        pytest.param({"inputs": [tensor([1], [-1, -1])]}, id="two-unknown-sizes"),
        pytest.param({"inputs": [tensor([1], [1] * 65)]}, id="too-many-dimensions"),
        pytest.param({"inputs": [tensor([], [10**12, 0])]}, id="huge-but-empty"),
        pytest.param({"inputs": [tensor([], [0], "BYTES")]}, id="empty-bytes"),
        pytest.param({"inputs": [tensor(json.loads("[" * 99 + "]" * 99), [0])]}, id="too-deep"),
        pytest.param({"inputs": [{**tensor([1]), "data": 1}]}, id="data-no-list"),
        pytest.param({"inputs": [tensor([1]), tensor([2])]}, id="the-same-name-twice"),
        pytest.param({"inputs": [tensor([1], name="x" * 256)]}, id="a-long-name"),
        pytest.param({"inputs": [{**tensor([1]), "name": ["x"]}]}, id="a-name-that-is-none"),
        pytest.param({"inputs": [tensor([1], datatype="FP7")]}, id="unknown-datatype"),
        pytest.param({"inputs": [{**tensor([1]), "datatype": [[]]}]}, id="datatype-no-text"),
        pytest.param({"inputs": [tensor(["1"])]}, id="text-for-a-number"),
        pytest.param({"inputs": [tensor([{}])]}, id="object-for-a-number"),
        pytest.param({"inputs": [tensor([1], [10**4000, 0])]}, id="a-size-beyond-all"),
        pytest.param({"inputs": [tensor([0] * 70_000, [70_000] + [1] * 9)]}, id="lists-of-lists"),
    ],
)
def test_v2_bad_request_is_the_clients_mistake(body):
    with pytest.raises(InvalidInput):
        run("kservev2", [{"body": body}], data_of)


def test_v2_result_that_is_no_list_is_the_handlers_mistake():
    with pytest.raises(InvalidOutput):
        run("kservev2", [v2_row(tensor([1]))], lambda data, context: 5)


# -- asynchronous handlers -------------------------------------------------------------------


def test_overlapping_calls_of_an_async_handler_keep_their_own_state():
    async def handler(data, context):
        await asyncio.sleep(0)
        return data_of(data, context)

    async def both():
        envelope = load_envelope("kservev2")(handler)
        calls = [
            envelope.handle([v2_row(tensor([n], name=f"in-{n}"), id=str(n))], FakeContext())
            for n in range(2)
        ]
        return await asyncio.gather(*calls)

    answers = asyncio.run(both())

    assert [(a[0]["id"], a[0]["outputs"][0]["name"]) for a in answers] == [
        ("0", "in-0"),
        ("1", "in-1"),
    ]


# -- tensors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]),
        ([1, 2, 3, 4, 5, 6], [2, 3]),
        ([[1, 2], [3, 4]], [4]),
        ([[1, 2], [3, 4]], [-1, 1]),
        ([1], []),
        ([], [2, 0, 3]),
        ([], [0]),
    ],
)
def test_reshape_agrees_with_numpy(data, shape):
    assert reshape(data, shape, "x") == np.array(data).reshape(shape).tolist()


@pytest.mark.parametrize(
    "value",
    [
        True,
        5,
        2.5,
        [1, 2],
        [True, False],
        [True, 2],
        [1, 2.5],
        [[1, 2], [3, 4]],
        "text",
        ["a", "b"],
        ["a", 1],
        [],
        2**63,
        np.float16(1),
        np.arange(3, dtype=np.uint8),
        np.arange(3, dtype=np.float32).reshape(1, 3),
        [np.int64(1), np.int64(2)],
        [np.float32(1), 2.5],
        {"a": 1},
        None,
    ],
    ids=repr,
)
def test_flatten_agrees_with_numpy(value):
    array = np.array(value)
    names = {"b": "BOOL", "i": "INT", "u": "UINT", "f": "FP"}
    bits = "" if array.dtype.kind in "b" else str(array.dtype.itemsize * 8)
    known = array.dtype.kind in names
    expected = names[array.dtype.kind] + bits if known else "BYTES"

    values, datatype = flatten(value)

    assert datatype == expected
    assert values == array.flatten().tolist()


def test_bytes_results_become_text_or_are_refused():
    assert flatten([b"hi", "ho"]) == (["hi", "ho"], "BYTES")
    with pytest.raises(InvalidOutput, match="UTF-8"):
        flatten(b"\xff")
