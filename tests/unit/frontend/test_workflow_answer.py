from __future__ import annotations

import json

import pytest

from tsl.frontend.workflow_answer import answer_of
from tsl.protocol.frames import Reply


def output(body, *headers):
    return Reply(0, "", list(headers), "", body)


def test_one_leaf_is_answered_unchanged_as_json():
    reply = answer_of([("leaf", output(b"\xff any bytes", "x-own", "1"))])

    assert (reply.status, reply.headers) == (200, ["content-type", "application/json"])
    assert bytes(reply.body) == b"\xff any bytes"


def test_a_content_type_that_the_leaf_has_set_is_kept():
    reply = answer_of([("leaf", output(b"x", "Content-Type", "a/b", "content-type", "image/png"))])

    assert reply.headers == ["content-type", "image/png"]


def test_several_leaves_are_one_object_in_their_order():
    reply = answer_of(
        [("b", output(b'{"x": 1.0}', "content-type", "text/html")), ("a", output(b"[1, null]"))]
    )

    assert reply.headers == ["content-type", "application/json"]
    assert list(json.loads(reply.body)) == ["b", "a"]
    assert json.loads(reply.body) == {"b": {"x": 1.0}, "a": [1, None]}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"3", 3),
        (b"null", None),
        (memoryview(b'"text"'), "text"),
        (b"hello", "hello"),
        (b"", ""),
        (b"{", "{"),
        ('a "quoted" é'.encode(), 'a "quoted" é'),
        (b"[" * 100_000, "[" * 100_000),
        (b"\x89PNG", {"b64": "iVBORw=="}),
    ],
    ids=["number", "null", "string", "text", "empty", "broken", "quoted", "deep", "binary"],
)
def test_each_leaf_is_a_json_value_whatever_it_returned(body, value):
    reply = answer_of([('the "leaf"', output(body)), ("other", output(b"1"))])

    assert json.loads(reply.body) == {'the "leaf"': value, "other": 1}
