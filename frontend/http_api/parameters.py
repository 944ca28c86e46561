"""Parameters of management calls: from the query string, or from a JSON object in the body."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from tsl.protocol.errors import InvalidParameter, InvalidRequest

from .exchange import Exchange


def query_of(exchange: Exchange) -> dict[str, str]:
    """Query parameters; of a repeated one the first value counts."""
    text = exchange.request.target.partition(b"?")[2].decode("latin-1")
    return {
        name: values[0].encode("latin-1").decode("utf-8", "replace")
        for name, values in parse_qs(text, keep_blank_values=True, encoding="latin-1").items()
    }


def registration_values(exchange: Exchange) -> dict[str, str]:
    """Parameters of a registration: a JSON object, else the query string.

    Raises:
        InvalidRequest: the body claims to be JSON, and is no JSON object.
        InvalidParameter: a value is neither text, number nor boolean.
    """
    if exchange.request.content_type.split(";")[0].strip().lower() != "application/json":
        return query_of(exchange)
    try:
        document = json.loads(exchange.request.body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The request body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise InvalidRequest("The request body is not a JSON object.")
    values = {}
    for name, value in document.items():
        if isinstance(value, bool):
            values[name] = str(value).lower()
        elif isinstance(value, (str, int)):
            values[name] = str(value)
        elif value is not None:
            raise InvalidParameter(f"Parameter {name} has a value of a wrong type.")
    return values
