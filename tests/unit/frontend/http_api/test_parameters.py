from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tsl.frontend.http_api.parameters import query_of, registration_values
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
