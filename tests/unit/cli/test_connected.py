"""Finding a server, asking it, and failing in words."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tsl.cli.api_client import NoAnswer
from tsl.cli.connected import (
    CommandFailed,
    all_versions,
    answer,
    connect,
    default_version,
    model_names,
    model_path,
    query,
    reports_failures,
)
from tsl.cli.exit_codes import ExitCode
from tsl.cli.keys import CannotRenew
from tsl.cli.pidfile import PidFile


class FakeApi:
    """Answers from a mapping of "METHOD path" to (status, body)."""

    def __init__(self, **answers):
        self.answers = answers

    def call(self, method, path, *, is_long=False):
        del is_long
        return self.answers[f"{method} {path}"]


def test_without_a_server_there_is_nothing_to_connect_to(tmp_path):
    with pytest.raises(CommandFailed) as caught:
        connect({"TEMP": str(tmp_path)})

    assert caught.value.code == ExitCode.NOT_RUNNING


def test_a_running_server_is_found_with_its_apis(tmp_path, record):
    PidFile(tmp_path).claim(record)

    server = connect({"TEMP": str(tmp_path)})

    assert server.record == record
    assert server.metrics is None


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (CommandFailed(ExitCode.FAILED, "What.", "Next."), 1, "What.\nNext.\n"),
        (NoAnswer("it is silent"), 4, "A server runs, but it is silent.\n"),
        (CannotRenew("no key"), 4, "A server runs, but a key has expired: no key\n"),
    ],
)
def test_failures_are_lines_and_an_exit_code(error, code, text, capsys):
    @reports_failures
    def work():
        raise error

    assert work() == code
    assert capsys.readouterr().err == text


def test_the_result_of_work_that_succeeds_is_its_own():
    assert reports_failures(lambda code: code)(7) == 7


@pytest.mark.parametrize(
    ("body", "text"),
    [({"message": "In its words."}, "In its words."), ([], "GET /x is answered with 500.")],
)
def test_a_refusal_is_told_in_the_servers_words(body, text):
    with pytest.raises(CommandFailed, match=text) as caught:
        answer(FakeApi(**{"GET /x": (500, body)}), "GET", "/x")

    assert caught.value.code == ExitCode.FAILED


def test_names_are_escaped_and_what_is_not_given_is_left_out():
    assert model_path("a b/c", "1.0") == "/models/a%20b%2Fc/1.0"
    assert model_path("a") == "/models/a"
    assert query(url="a&b", name=None, workers=0) == "?url=a%26b&workers=0"
    assert query(name=None) == ""


def test_all_pages_are_read():
    api = FakeApi(
        **{
            "GET /models?limit=100": (200, {"models": [{"modelName": "a"}], "nextPageToken": "1"}),
            "GET /models?limit=100&next_page_token=1": (200, {"models": [{"modelName": "b"}]}),
        }
    )

    assert model_names(api) == ["a", "b"]


def test_a_model_that_has_gone_has_no_versions_but_a_refusal_is_one():
    api = FakeApi(**{"GET /models/a/all": (404, {}), "GET /models/b/all": (400, {"message": "no"})})

    assert all_versions(api, "a") == []
    with pytest.raises(CommandFailed, match="no"):
        all_versions(api, "b")


def test_the_default_of_one_version_needs_no_question():
    one, two = {"modelVersion": "1"}, {"modelVersion": "2"}
    api = FakeApi(**{"GET /models/a": (200, [two]), "GET /models/gone": (404, {})})

    assert default_version(api, "never asked", [one]) == "1"
    assert default_version(api, "a", [one, two]) == "2"
    assert default_version(api, "gone", [one, two]) == ""


@pytest.mark.parametrize(
    "line", ["models", "describe m", "register m.mar", "scale m 1", "unregister m", "top --once"]
)
def test_without_a_server_every_command_says_so(line, tmp_path, monkeypatch):
    from tsl.cli.main import cli

    monkeypatch.setenv("TEMP", str(tmp_path))

    result = CliRunner().invoke(cli, line.split(), standalone_mode=False)

    assert result.return_value == 3
    assert result.stderr == "TorchServe is not currently running.\n"
