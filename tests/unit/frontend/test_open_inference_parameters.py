"""Tests for tsl.frontend.open_inference_parameters."""

import pytest

from tsl.frontend.open_inference_parameters import (
    SequenceNames,
    may_limit_time,
    parameters_of,
    sequence_of,
    timeout_of,
)
from tsl.protocol.errors import InvalidRequest

NAMES = SequenceNames("the-id", "the-start", "the-end")


@pytest.mark.parametrize(
    ("parameters", "headers"),
    [
        ({}, []),
        ({"sequence_id": 0, "sequence_start": True}, []),
        ({"sequence_id": ""}, []),
        ({"sequence_id": 7}, [b"the-id", b"7"]),
        (
            {"sequence_id": "é", "sequence_start": True, "sequence_end": False},
            [b"the-id", "é".encode(), b"the-start", b"true"],
        ),
        ({"sequence_id": "a", "sequence_end": True}, [b"the-id", b"a", b"the-end", b"true"]),
    ],
)
def test_a_sequence_is_named_by_parameters(parameters, headers):
    assert sequence_of(parameters, NAMES) == headers


@pytest.mark.parametrize(
    "parameters",
    [{"sequence_id": [1]}, {"sequence_id": True}, {"sequence_id": 1, "sequence_end": 1}],
)
def test_a_sequence_of_wrong_types_is_refused(parameters):
    with pytest.raises(InvalidRequest, match="sequence_"):
        sequence_of(parameters, NAMES)


@pytest.mark.parametrize(("parameters", "limit_s"), [({}, 0.0), ({"timeout": 1_500_000}, 1.5)])
def test_a_timeout_is_in_microseconds(parameters, limit_s):
    assert timeout_of(parameters) == limit_s


@pytest.mark.parametrize("value", [-1, "5", 1.5, True])
def test_a_timeout_that_is_none_is_refused(value):
    with pytest.raises(InvalidRequest, match="timeout"):
        timeout_of({"timeout": value})


def test_only_the_document_is_searched_for_a_timeout():
    document = b'{"parameters":{"timeout":1}}'

    assert may_limit_time(document + b"tail", len(document))
    assert not may_limit_time(b"{}" + document, 2)


@pytest.mark.parametrize("document", [b"", b"[", b"[]", b'{"parameters": 3}', b"\xff", b"[" * 9999])
def test_documents_that_are_not_valid_have_no_parameters(document):
    assert parameters_of(document) == {}
