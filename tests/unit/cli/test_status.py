"""``tsl status``: the table, the paging, and the exit codes."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tsl.cli.api_client import NoAnswer
from tsl.cli.status import ModelStatus, command, show, table


class FakeApi:
    """Answers from a mapping of path to (status, body)."""

    def __init__(self, answers):
        self.answers = answers

    def call(self, method, path, *, is_long=False):
        assert (method, is_long) == ("GET", False)
        if path not in self.answers:
            raise NoAnswer(f"{path} does not answer")
        return self.answers[path]


HEALTHY = FakeApi({"/ping": (200, {"status": "Healthy"})})
NO_MODELS = FakeApi({"/models?limit=100": (200, {"models": []})})


def described(name, version="1.0", statuses=("READY",), wanted=1, queued=0):
    return {
        "modelName": name,
        "modelVersion": version,
        "minWorkers": wanted,
        "workers": [{"status": status} for status in statuses],
        "jobQueueStatus": {"remainingCapacity": 100, "pendingRequests": queued},
    }


def test_without_a_server_the_exit_code_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMP", str(tmp_path))

    result = CliRunner().invoke(command, standalone_mode=False)

    assert result.return_value == 3
    assert result.output == "TorchServe is not currently running.\n"


def test_a_healthy_server_shows_its_models(record, capsys):
    management = FakeApi(
        {
            "/models?limit=100": (200, {"models": [{"modelName": "a"}]}),
            "/models/a/all": (
                200,
                [described("a", queued=3), described("a", "2.0", ("UNLOADING", "READY"), wanted=2)],
            ),
        }
    )

    code = show(record, HEALTHY, management)

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].startswith(f"Healthy: process {record.pid}")
    assert lines[-3:] == [
        "MODEL  VERSION  STATE     WORKERS  QUEUE",
        "a      1.0      ready     1/1      3",
        "a      2.0      degraded  1/2      0",
    ]


def test_all_pages_of_the_model_list_are_read(record, capsys):
    management = FakeApi(
        {
            "/models?limit=100": (200, {"models": [{"modelName": "a"}], "nextPageToken": "1"}),
            "/models?limit=100&next_page_token=1": (200, {"models": [{"modelName": "b"}]}),
            "/models/a/all": (200, [described("a")]),
            "/models/b/all": (200, [described("b")]),
        }
    )

    show(record, HEALTHY, management)

    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]]
    assert names == ["a", "b"]


def test_an_unhealthy_server_has_its_own_exit_code(record, capsys):
    inference = FakeApi({"/ping": (500, {"status": "Unhealthy"})})

    assert show(record, inference, NO_MODELS) == 4
    assert capsys.readouterr().out.startswith("Unhealthy: process")


def test_a_server_that_does_not_answer_is_unhealthy(record, capsys):
    assert show(record, FakeApi({}), NO_MODELS) == 4
    assert f"Process {record.pid} runs, but /ping does not answer." in capsys.readouterr().out


def test_a_refusal_is_shown_with_its_reason(record, capsys):
    management = FakeApi({"/models?limit=100": (400, {"message": "Token Authorization failed"})})

    assert show(record, HEALTHY, management) == 4
    assert "refuses: Token Authorization failed" in capsys.readouterr().out


def test_no_models_is_said_in_words():
    assert table([]) == ["No models are loaded."]


@pytest.mark.parametrize(
    ("ready", "wanted", "state"),
    [(0, 0, "no workers"), (2, 2, "ready"), (1, 2, "degraded"), (0, 2, "not ready")],
)
def test_the_state_is_one_word(ready, wanted, state):
    assert ModelStatus("m", "1.0", ready, wanted, None).state == state
