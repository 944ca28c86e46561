"""Documents that clients repeat are read once."""

from __future__ import annotations

import json

import pytest

from tsl.backend.request_documents import MAX_BYTES, MAX_REMEMBERED, RequestDocuments
from tsl.protocol.errors import InvalidInput


def document(*, name="x", parameters=None, **more):
    tensor = {"name": name, "shape": [1], "datatype": "INT8"}
    tensor["parameters"] = {"binary_data_size": 1}
    return json.dumps({"inputs": [tensor], "parameters": parameters or {}, **more}).encode()


def test_the_same_text_is_read_once():
    documents = RequestDocuments()

    first, again = documents.read(document()), documents.read(bytearray(document()))

    assert again is first
    assert documents.read(document(name="y")).inputs[0].name == "y"


def test_an_id_is_never_taken_from_another_request():
    documents = RequestDocuments()

    ids = [documents.read(document(id=each)).wishes.request_id for each in ("1", "2", "1")]

    assert ids == ["1", "2", "1"]


def test_values_are_never_taken_from_another_request():
    text = b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1]}]}'
    documents = RequestDocuments()

    assert documents.read(text) is not documents.read(text)


def test_parameters_that_could_be_changed_inside_are_read_anew():
    documents = RequestDocuments()
    text = document(parameters={"a": [1]})

    documents.read(text).wishes.parameters["a"].append(2)

    assert documents.read(text).wishes.parameters == {"a": [1]}


def test_a_bad_document_stays_bad():
    documents = RequestDocuments()
    for _ in range(2):
        with pytest.raises(InvalidInput, match="not valid JSON"):
            documents.read(b'{"inputs":')


def test_memory_is_bounded():
    documents = RequestDocuments()
    long = document(note="n" * MAX_BYTES)

    for number in range(3 * MAX_REMEMBERED):
        documents.read(document(name=f"x{number}"))

    assert len(documents) <= MAX_REMEMBERED
    assert documents.read(long) is not documents.read(long)
