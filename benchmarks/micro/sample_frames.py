"""Frames as a wrk request makes them, for the scripts of this folder."""

from __future__ import annotations

from typing import Final

from tsl.protocol.frames import Part, Predict, Reply, Result, Row

REQUEST_ID: Final = "0b8f1d2e-1111-4222-8333-444455556666"
BODY: Final = b"hello world"
HEADERS: Final = [
    *(b"Host", b"127.0.0.1:8080"),
    *(b"Content-Type", b"application/octet-stream"),
    *(b"Authorization", b"Bearer aB3dE6gH"),
    *(b"Content-Length", b"11"),
]


def row(body: bytes = BODY) -> Row:
    """One request."""
    return Row(
        REQUEST_ID,
        HEADERS,
        ["explain", "False", "url_path", ""],
        [Part("body", "application/octet-stream", body)],
    )


def predict(rows: int, body: bytes = BODY) -> Predict:
    """A batch."""
    return Predict(7, [row(body) for _ in range(rows)])


def result(rows: int, body: bytes = BODY) -> Result:
    """Its answer."""
    return Result(7, 12, [Reply(0, "", [], "", body) for _ in range(rows)])
