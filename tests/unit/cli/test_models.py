"""``tsl models``, ``describe`` and the commands that change what is served."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tsl.cli import changes, models
from tsl.cli.main import cli


class FakeApi:
    """Answers from a mapping and notes what it was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def call(self, method, path, *, is_long=False):
        self.asked.append((method, path, is_long))
        return self.answers.get(f"{method} {path}", (200, {"status": "Done."}))


def described(version, **more):
    return {
        "modelName": "m",
        "modelVersion": version,
        "modelUrl": "m.mar",
        "minWorkers": 1,
        "maxWorkers": 2,
        "batchSize": 4,
        "parallelType": "",
        "useVenv": False,
        "deviceIds": [0, 1],
        "workers": [
            {
                "id": "9000",
                "startTime": "2026-11-22T08:39:17.000Z",
                "status": "READY",
                "memoryUsage": 30_000_000,
                "pid": 17,
            }
        ],
        "jobQueueStatus": {"remainingCapacity": 98, "pendingRequests": 2},
        **more,
    }


ANSWERS = {
    "GET /models?limit=100": (200, {"models": [{"modelName": "m"}]}),
    "GET /models/m/all": (200, [described("1.0"), described("2.0", workers=[])]),
    "GET /models/m": (200, [described("2.0", workers=[])]),
    "GET /models/m/1.0": (200, [described("1.0")]),
    "GET /models/m/1.0?customized=true": (200, [described("1.0")]),
}


@pytest.fixture
def run(monkeypatch):
    def invoke(line, answers=ANSWERS):
        api = FakeApi(answers)
        monkeypatch.setattr(models, "management", lambda: api)
        monkeypatch.setattr(changes, "management", lambda: api)
        result = CliRunner().invoke(cli, line.split(), standalone_mode=False)
        assert result.exception is None, result.exception
        return result, api.asked

    return invoke


def test_the_list_has_every_version_and_marks_the_default(run):
    result, _ = run("models")

    assert [line.split() for line in result.stdout.splitlines()] == [
        ["MODEL", "VERSION", "DEFAULT", "STATE", "WORKERS", "QUEUE", "BATCH", "FROM"],
        ["m", "1.0", "ready", "1/1", "2", "4", "m.mar"],
        ["m", "2.0", "yes", "not", "ready", "0/1", "2", "4", "m.mar"],
    ]


def test_the_list_as_json(run):
    result, _ = run("models --json")

    first, second = json.loads(result.stdout)
    assert first == {
        "model": "m",
        "version": "1.0",
        "default": False,
        "state": "ready",
        "workersReady": 1,
        "minWorkers": 1,
        "maxWorkers": 2,
        "queued": 2,
        "batchSize": 4,
        "url": "m.mar",
    }
    assert second["default"]


@pytest.mark.parametrize(
    ("line", "out"), [("models", "No models are loaded.\n"), ("models --json", "[]\n")]
)
def test_no_models(run, line, out):
    assert run(line, {"GET /models?limit=100": (200, {"models": []})})[0].stdout == out


def test_a_description_for_people(run):
    result, _ = run("describe m 1.0")

    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["batchSize", "4"] in lines
    assert ["useVenv", "no"] in lines
    assert ["deviceIds", "0,", "1"] in lines
    assert ["jobQueueStatus", "remainingCapacity", "98,", "pendingRequests", "2"] in lines
    assert "parallelType" not in result.stdout
    assert lines[-1] == ["9000", "READY", "17", "30", "MB", "2026-11-22T08:39:17.000Z"]


def test_a_description_as_json_is_the_servers_own(run):
    result, asked = run("describe m 1.0 --json --customized")

    assert json.loads(result.stdout) == ANSWERS["GET /models/m/1.0"][1]
    assert asked == [("GET", "/models/m/1.0?customized=true", True)]


def test_all_versions_are_described_one_below_the_other(run):
    result, _ = run("describe m all")

    assert result.stdout.count("modelVersion") == 2
    assert "\n\nmodelName" in result.stdout


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("register a.mar", "POST /models?url=a.mar&synchronous=true"),
        (
            "register a.mar --name b --workers 2 --batch-size 4 --max-batch-delay 5 --no-wait "
            "--response-timeout 6 --startup-timeout 7 --handler h:f --runtime python3",
            "POST /models?url=a.mar&model_name=b&initial_workers=2&synchronous=false&"
            "handler=h%3Af&runtime=python3&batch_size=4&max_batch_delay=5&response_timeout=6&"
            "startup_timeout=7",
        ),
        ("scale m 3", "PUT /models/m?min_worker=3&synchronous=true"),
        (
            "scale m 0 --max 2 --version 1.0 --no-wait",
            "PUT /models/m/1.0?min_worker=0&max_worker=2&synchronous=false",
        ),
        ("unregister m", "DELETE /models/m"),
        ("unregister m 1.0", "DELETE /models/m/1.0"),
        ("set-default m 2.0", "PUT /models/m/2.0/set-default"),
    ],
)
def test_changes_are_asked_for_and_the_answer_is_shown(run, line, asked):
    result, calls = run(line)

    assert result.return_value == 0
    assert result.stdout == "Done.\n"
    ((method, path, is_long),) = calls
    assert is_long
    expected_path, _, expected = asked.partition(" ")[2].partition("?")
    assert method == asked.partition(" ")[0]
    assert path.partition("?")[0] == expected_path
    assert sorted(path.partition("?")[2].split("&")) == sorted(expected.split("&"))


def test_a_refusal_is_shown_in_the_servers_words(run):
    refusal = {"DELETE /models/m": (405, {"message": "Switched off. Start with ..."})}

    result, _ = run("unregister m", refusal)

    assert result.return_value == 1
    assert result.stderr == "Switched off. Start with ...\n"
