"""The GET requests of ``tsl status``, over a connection that is none."""

from __future__ import annotations

import http.client

import pytest

from tsl.cli.api_client import ApiClient, NoAnswer


class FakeConnection:
    """Gives one body, or raises."""

    def __init__(self, body=b"{}", status=200, error=None):
        self.body = body
        self.status = status
        self.error = error
        self.sent = None

    def request(self, method, path, headers):
        self.sent = (method, path, headers)

    def getresponse(self):
        if self.error:
            raise self.error
        return FakeAnswer(self.status, self.body)

    def close(self):
        pass


class FakeAnswer:
    """Status and body."""

    def __init__(self, status, body):
        self.status = status
        self.read = lambda: body


def client_over(connection, monkeypatch, key=None):
    monkeypatch.setattr(ApiClient, "_connection", lambda _: connection)
    return ApiClient("http://127.0.0.1:8080", key)


def test_status_and_json_are_returned(monkeypatch):
    client = client_over(FakeConnection(b'{"a": 1}', 500), monkeypatch)

    assert client.get("/ping") == (500, {"a": 1})


def test_the_key_is_shown(monkeypatch):
    connection = FakeConnection()

    client_over(connection, monkeypatch, key="k").get("/ping")

    assert connection.sent == ("GET", "/ping", {"Authorization": "Bearer k"})


@pytest.mark.parametrize(
    "connection",
    [
        FakeConnection(error=ConnectionRefusedError(111, "Connection refused")),
        FakeConnection(error=http.client.BadStatusLine("?")),
        FakeConnection(error=TimeoutError()),
        FakeConnection(b"<html>"),
    ],
    ids=["refused", "no HTTP", "timeout", "no JSON"],
)
def test_everything_else_is_no_answer_and_names_the_address(connection, monkeypatch):
    client = client_over(connection, monkeypatch)

    with pytest.raises(NoAnswer, match=r"http://127\.0\.0\.1:8080"):
        client.get("/ping")
