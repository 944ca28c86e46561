"""``tsl token``."""

from __future__ import annotations

import dataclasses
import json

import pytest
from click.testing import CliRunner

from tsl.cli import token
from tsl.cli.keys import CannotRenew
from tsl.cli.pidfile import PidFile
from tsl.cli.token import command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMP", str(tmp_path))

    def invoke(*args):
        return CliRunner().invoke(command, args, standalone_mode=False)

    return invoke


@pytest.fixture
def served(tmp_path, record):
    """A server with an inference key."""
    PidFile(tmp_path).claim(record)
    (tmp_path / "key_file.json").write_text(json.dumps({"inference": {"key": "secret"}}))


def test_without_a_server_there_is_no_key(run):
    result = run()

    assert result.return_value == 3
    assert "not currently running" in result.stderr


@pytest.mark.usefixtures("served")
def test_the_inference_key_is_printed_alone(run):
    result = run()

    assert result.return_value == 0
    assert result.stdout == "secret\n"


@pytest.mark.usefixtures("served")
def test_a_new_key_is_asked_for_and_printed(run, monkeypatch):
    monkeypatch.setattr(token, "renew", lambda _client, name: f"new {name}")

    result = run("--renew")

    assert result.return_value == 0
    assert result.stdout == "new inference\n"


@pytest.mark.usefixtures("served")
def test_a_key_that_cannot_be_renewed_says_why(run, monkeypatch):
    def refuse(_client, _name):
        raise CannotRenew("It is fixed.")

    monkeypatch.setattr(token, "renew", refuse)

    result = run("--renew")

    assert result.return_value == 1
    assert result.stdout == ""
    assert "It is fixed." in result.stderr


def test_the_key_that_renews_cannot_be_renewed(run):
    result = run("API", "--renew")

    assert "as long as the server runs" in str(result.exception)


def test_a_key_that_cannot_be_read_is_not_printed(run, tmp_path, record):
    PidFile(tmp_path).claim(record)

    result = run("management")

    assert result.return_value == 1
    assert result.stdout == ""
    assert "not readable" in result.stderr


def test_a_server_without_tokens_has_no_key(run, tmp_path, record):
    PidFile(tmp_path).claim(dataclasses.replace(record, needs_token=False))

    result = run("management")

    assert result.return_value == 1
    assert result.stdout == ""
    assert "runs without tokens" in result.stderr
