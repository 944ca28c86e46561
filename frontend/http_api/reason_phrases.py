"""The words beside a status in an HTTP/1.1 status line."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

_EXTRA_PHRASES: Final = {
    418: "I'm a Teapot",
    425: "Too Early",
    499: "Client Closed Request",
}


def reason_phrase(status: int) -> str:
    """The standard reason phrase of an HTTP status, or a description of its class."""
    try:
        return _EXTRA_PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        kinds = ("Informational", "Success", "Redirection", "Client Error", "Server Error")
        kind = kinds[status // 100 - 1] if 100 <= status <= 599 else "Unknown Status"
        return f"{kind} ({status})"
