"""Tests for tsl.backend.classification and tsl.backend.ranking."""

import json

import numpy as np
import pytest

from tsl.backend.arrays import output_of
from tsl.backend.classification import class_text, classes_asked, labels_of, ranked
from tsl.backend.context import Context
from tsl.backend.envelopes import load_envelope
from tsl.backend.ranking import classified
from tsl.protocol.errors import InvalidInput, InvalidOutput
from tsl.protocol.frames import Row
from tsl.protocol.tensors import split_bytes


def best(value, count, labels=None, datatype=None):
    output = classified(output_of("y", value, datatype), count, labels or {})
    assert output.datatype == "BYTES"
    items = split_bytes("y", int(np.prod(output.shape)), output.raw)
    return np.array([item.decode() for item in items], object).reshape(output.shape).tolist()


def test_the_best_come_first_and_equals_in_their_order():
    assert best(np.array([0.25, 0.5, 0.25], np.float32), 2, {1: "b"}) == [
        "0.500000:1:b",
        "0.250000:0",
    ]
    assert best(np.array([3, 7, 3], np.uint8), 9) == ["7:1", "3:0", "3:2"]


def test_each_row_is_ranked_by_itself():
    assert best(np.array([[[1, 2]], [[4, 3]]], np.int64), 1) == [[["2:1"]], [["4:0"]]]


@pytest.mark.parametrize(
    ("array", "first"),
    [
        (np.array([-(2**63), 2**63 - 1]), f"{2**63 - 1}:1"),
        (np.array([0, 2**64 - 1], np.uint64), f"{2**64 - 1}:1"),
        (np.array([False, True]), "1:1"),
        (np.array([np.nan, -np.inf, 1.5]), "1.500000:2"),
        (np.array([1, 2], np.float16), "2.000000:1"),
        (np.array(5.0), "5.000000:0"),
    ],
)
def test_numbers_of_any_type_can_be_ranked(array, first):
    assert best(array, 1) == [first]


def test_bfloat16_can_be_ranked():
    assert best(np.array([1, 3], np.float32), 1, datatype="BF16") == ["3.000000:1"]


def test_no_classes_give_no_strings():
    assert best(np.zeros((2, 0)), 3) == [[], []]


def test_text_cannot_be_ranked():
    with pytest.raises(InvalidInput, match="'y'"):
        best(["a"], 1)


@pytest.mark.parametrize(
    ("scores", "count", "texts", "shape"),
    [
        ({"cat": 0.25, "dog": 0.75}, 1, ["0.750000:1:dog"], [1]),
        ({"tiger": 1, "cat": 2}, 5, ["2:7:cat", "1:0:tiger"], [2]),
        ([0.5, 0.25], 2, ["0.500000:0", "0.250000:1"], [2]),
        ([[1, 2], [4, 3]], 1, ["2:1", "4:0"], [2, 1]),
        (5, 1, ["5:0"], [1]),
    ],
)
def test_results_of_python_s_own_types_are_ranked(scores, count, texts, shape):
    assert ranked(scores, count, {7: "cat"}) == (texts, shape)


@pytest.mark.parametrize("scores", [["a"], [[1], [1, 2]], {"a": "b"}, [None], [True]])
def test_results_without_scores_are_not(scores):
    assert ranked(scores, 1, {}) is None


def test_labels_come_from_the_yaml_or_the_file(tmp_path):
    (tmp_path / "index_to_name.json").write_text(json.dumps({"0": ["n1", "tench"], "1": "shark"}))
    yaml = {"outputs": [{"name": "own", "labels": ["a", "b"]}, {"name": "none"}]}

    assert labels_of(str(tmp_path), yaml, "own") == {0: "a", 1: "b"}
    assert labels_of(str(tmp_path), yaml, "none") == {0: "tench", 1: "shark"}
    assert labels_of(str(tmp_path / "no"), None, "none") == {}


def test_a_bad_file_of_labels_is_the_model_s_mistake(tmp_path):
    (tmp_path / "index_to_name.json").write_text("[]")

    with pytest.raises(InvalidOutput, match="index_to_name"):
        labels_of(str(tmp_path), {}, "y")


@pytest.mark.parametrize("count", [-1, 1.5, "3", True])
def test_a_number_of_classes_that_is_none_is_refused(count):
    with pytest.raises(InvalidInput, match="'y'"):
        classes_asked({"outputs": [{"name": "y", "parameters": {"classification": count}}]})


def test_no_classes_may_be_asked_for():
    asked = classes_asked(
        {
            "outputs": [
                {"name": "a", "parameters": {"classification": 0}},
                {"name": "b"},
                {"name": "c", "parameters": {"classification": 3}},
            ]
        }
    )

    assert asked == {"c": 3}


def test_behind_the_envelope_a_dict_of_labels_is_ranked(tmp_path):
    (tmp_path / "index_to_name.json").write_text('{"3": "cat"}')
    context = Context("m", str(tmp_path), None, 8, None, "0", model_yaml_config={})
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    ask = {"outputs": [{"name": "x", "parameters": {"classification": 1}}]}
    rows = [{"body": {"inputs": [tensor], **more}} for more in (ask, {})]
    context.begin_batch([Row("id", [], [], []) for _ in rows], None)

    ranked, plain = load_envelope("kservev2")(
        lambda data, context: [{"dog": 0.25, "cat": 0.5} for _ in data]
    ).handle(rows, context)

    assert ranked["outputs"] == [
        {"name": "x", "datatype": "BYTES", "shape": [1], "data": ["0.500000:3:cat"]}
    ]
    assert plain["outputs"][0]["data"] == [{"dog": 0.25, "cat": 0.5}]


def test_a_label_may_be_any_text():
    assert class_text(1.0, 2, "ü:x\ud800") == "1.000000:2:ü:x?".encode()
