"""Heads that come again: what was made of one is used for the next, and says the same."""

from __future__ import annotations

import json

import pytest
from http_client import request
from tensor_play import TensorPlay

TENSOR = {"name": "x", "datatype": "INT32", "shape": [2]}
TARGET = "/v2/models/arrays/infer"


@pytest.fixture
def play():
    made = TensorPlay()
    yield made
    made.close()


def binary(values):
    """Header and body of a request with bytes."""
    tensor = {**TENSOR, "parameters": {"binary_data_size": len(values)}}
    document = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return [("Inference-Header-Content-Length", str(len(document)))], document + values


def as_json(values):
    """The same with values in the document."""
    tensor = {**TENSOR, "data": values}
    return [("Content-Type", "application/json")], json.dumps({"inputs": [tensor]}).encode()


def ask_twice(play, first, second):
    """Two requests on one connection; the same head, if their bodies are equally long."""
    (headers, body), (more_headers, more_body) = first, second
    stage = play.http(TARGET, body, headers=headers)
    stage.feed(request(TARGET, "POST", body=more_body, headers=more_headers))
    return stage.responses()


def test_bytes_behind_a_head_that_came_before(play):
    pair = ask_twice(play, binary(b"\1\0\0\0\2\0\0\0"), binary(b"\3\0\0\0\4\0\0\0"))

    assert [each.status for each in pair] == [200, 200]
    assert [each.body[-8:] for each in pair] == [b"\1\0\0\0\2\0\0\0", b"\3\0\0\0\4\0\0\0"]
    assert len({each.header("inference-header-content-length") for each in pair}) == 1
    assert {each.header("content-type") for each in pair} == {"application/octet-stream"}


def test_values_behind_a_head_that_came_before(play):
    pair = ask_twice(play, as_json([1, 2]), as_json([3, 4]))

    assert [json.loads(each.body)["outputs"][0]["data"] for each in pair] == [[1, 2], [3, 4]]


def test_a_time_limit_in_a_body_counts_behind_a_head_that_came_before(play):
    headers, body = as_json([1, 2])
    limited = {**json.loads(body), "parameters": {"timeout": "a"}}
    text = json.dumps(limited).encode()

    fine, refused = ask_twice(play, (headers, body.ljust(len(text))), (headers, text))

    assert fine.status == 200
    assert (refused.status, b"microseconds" in refused.body) == (400, True)


@pytest.mark.parametrize("length", ["x", "9999", "-1", "1" * 12])
def test_a_length_that_is_none_is_refused_each_time(play, length):
    _, body = binary(b"12345678")

    for _ in range(2):
        answer = play.http(
            TARGET, body, headers=[("Inference-Header-Content-Length", length)]
        ).response()
        assert (answer.status, b"Inference-Header-Content-Length" in answer.body) == (400, True)
