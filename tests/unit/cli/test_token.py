"""``tsl token``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tsl.cli.pidfile import PidFile
from tsl.cli.token import command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMP", str(tmp_path))

    def invoke(*args):
        return CliRunner().invoke(command, args, standalone_mode=False)

    return invoke


def test_without_a_server_there_is_no_key(run):
    result = run()

    assert result.return_value == 3
    assert "not currently running" in result.stderr


def test_the_inference_key_is_printed_alone(run, tmp_path, record):
    PidFile(tmp_path).claim(record)
    (tmp_path / "key_file.json").write_text(json.dumps({"inference": {"key": "secret"}}))

    result = run()

    assert result.return_value == 0
    assert result.stdout == "secret\n"


def test_a_server_without_tokens_has_no_key(run, tmp_path, record):
    PidFile(tmp_path).claim(record)

    result = run("management")

    assert result.return_value == 1
    assert result.stdout == ""
    assert "runs without tokens" in result.stderr
