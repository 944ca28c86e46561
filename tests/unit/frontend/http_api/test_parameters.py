from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tsl.frontend.http_api.parameters import (
    boolean,
    lenient_int,
    page_of,
    query_of,
    registration_values,
)
from tsl.protocol.errors import InvalidParameter, InvalidRequest


def exchange(target="/models", *, content_type="", body=b""):
    request = SimpleNamespace(target=target.encode("latin-1"), content_type=content_type, body=body)
    return SimpleNamespace(request=request)


@pytest.mark.parametrize(
    ("target", "values"),
    [
        ("/models", {}),
        ("/models?a=1&b=", {"a": "1", "b": ""}),
        ("/models?a=1&a=2", {"a": "1"}),
        ("/models?a=x+y%2Fz", {"a": "x y/z"}),
        ("/models?a=%C3%A9&b=\xff", {"a": "é", "b": "�"}),
    ],
)
def test_the_query_is_decoded(target, values):
    assert query_of(exchange(target)) == values


def test_a_json_body_counts_instead_of_the_query():
    body = json.dumps({"url": "m.mar", "batch_size": 4, "synchronous": True, "handler": None})

    values = registration_values(
        exchange("/models?url=q", content_type="Application/JSON; x=y", body=body.encode())
    )

    assert values == {"url": "m.mar", "batch_size": "4", "synchronous": "true"}


def test_any_other_body_is_not_looked_at():
    asked = exchange("/models?url=q", content_type="text/plain", body=b"{}")

    assert registration_values(asked) == {"url": "q"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", InvalidRequest),
        (b"", InvalidRequest),
        (b"[" * 100_000, InvalidRequest),
        (b"[]", InvalidRequest),
        (b'{"url": {}}', InvalidParameter),
    ],
    ids=["broken", "empty", "deep", "list", "nested"],
)
def test_a_body_that_is_no_plain_json_object_is_refused(body, error):
    with pytest.raises(error):
        registration_values(exchange(content_type="application/json", body=body))


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("-1", -1), ("x", 7), ("", 7), (None, 7)])
def test_what_is_no_number_counts_as_not_given(text, number):
    assert lenient_int({} if text is None else {"n": text}, "n", 7) == number


@pytest.mark.parametrize(("text", "value"), [("true", True), ("TRUE", True), ("1", False)])
def test_only_true_is_true(text, value):
    assert boolean(text) is value


@pytest.mark.parametrize(
    ("values", "items", "token"),
    [
        ({}, [0, 1, 2], None),
        ({"limit": "2"}, [0, 1], "2"),
        ({"limit": "2", "next_page_token": "2"}, [2], None),
        ({"limit": "3"}, [0, 1, 2], "3"),
        ({"limit": "3", "next_page_token": "3"}, [], None),
        ({"limit": "-1"}, [0, 1, 2], None),
        ({"limit": "101"}, [0, 1, 2], None),
        ({"limit": "0"}, [], "0"),
        ({"next_page_token": "-4"}, [0, 1, 2], None),
    ],
)
def test_lists_come_in_pages(values, items, token):
    assert page_of([0, 1, 2], values) == (items, token)
