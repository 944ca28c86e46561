"""What holds for any request and any answer of Triton's extensions."""

import json
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsl.backend.arrays import DTYPES, output_of
from tsl.backend.ranking import classified
from tsl.frontend.generate import AnswerReader, Form, encode, model_input, parse_request
from tsl.frontend.open_inference_parameters import SequenceNames, sequence_of, timeout_of
from tsl.frontend.raw_requests import with_document
from tsl.protocol.errors import InvalidRequest
from tsl.protocol.tensors import DATATYPES, count_of, split_bytes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
NAMES = st.sampled_from(["text_input", "parameters", "id", "x", "sequence_id", "timeout"])
SHAPES = st.lists(st.integers(-1, 3), max_size=3)
DECLARED = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["x", "text_input", "y"]),
            "datatype": st.sampled_from(DATATYPES),
            "shape": SHAPES,
        }
    ),
    max_size=2,
)


@given(st.dictionaries(NAMES, JSON), st.sampled_from(Form), DECLARED)
def test_any_document_is_mapped_or_refused(document, form, declared):
    try:
        made = model_input(parse_request(encode(document)), form, declared)
    except InvalidRequest:
        return

    assert json.loads(encode(made)).keys() == made.keys()


@given(st.text(), st.lists(st.integers(0, 100)))
def test_text_that_is_cut_anywhere_is_the_same_text(text, cuts):
    data = text.encode("utf-8", "replace")
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = AnswerReader({})

    pieces = [data[start:end] for start, end in pairwise(borders)]
    answers = [reader.read(piece) for piece in pieces] + [reader.read(b"", is_last=True)]

    if all(list(each) == ["text_output"] for each in answers):  # none of them is a JSON object
        assert "".join(each["text_output"] for each in answers) == data.decode()


@given(st.binary())
def test_any_answer_is_a_json_object(body):
    read = AnswerReader({"model_name": "m"}).read(body, is_last=True)

    assert "model_name" in json.loads(encode(read))


@given(
    st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 100), min_size=1), st.integers(1, 5)
)
def test_the_best_classes_are_the_highest_scores(datatype, scores, count):
    array = np.array(scores).astype(DTYPES[datatype])
    output = classified(output_of("y", array), count, {})
    items = split_bytes("y", output.shape[0], output.raw)

    indices = [int(item.split(b":")[1]) for item in items]
    rest = [index for index in range(len(scores)) if index not in indices]
    best = [float(array[index]) for index in indices]
    assert len(indices) == len(set(indices)) == min(count, len(scores))
    assert best == sorted(best, reverse=True)
    assert all(float(array[index]) <= best[-1] for index in rest)


@given(DECLARED, st.binary(max_size=64))
def test_bytes_without_a_document_get_one_that_fits_or_are_refused(declared, body):
    try:
        length, whole = with_document(declared, body)
    except InvalidRequest:
        return

    document = json.loads(whole[: int(length)])
    (tensor,) = document["inputs"]
    count_of(tensor["name"], tensor["datatype"], tensor["shape"])
    assert whole[int(length) :].endswith(body)


@given(st.dictionaries(st.sampled_from(["sequence_id", "sequence_start", "timeout"]), JSON))
def test_any_parameters_are_understood_or_refused(parameters):
    try:
        headers = sequence_of(parameters, SequenceNames("a", "b", "c"))
        limit_s = timeout_of(parameters)
    except InvalidRequest:
        return

    assert len(headers) % 2 == 0
    assert limit_s >= 0
