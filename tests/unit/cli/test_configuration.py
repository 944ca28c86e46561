"""``tsl config``: values, sources, explanations."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tsl.cli.configuration import MASK, command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("TS_CONFIG_FILE", "LOG_LOCATION", "METRICS_LOCATION", "TEMP", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)

    def invoke(line):
        result = CliRunner().invoke(command, line.split(), standalone_mode=False)
        return result.return_value, result.stdout, result.stderr

    return invoke


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.properties"
    path.write_text(
        "enable_envvars_config=true\nkeystore_pass=geheim\njob_queue_size=7\nvmargs=-Xmx1g\nodd=1\n"
    )
    return path


def values(run, line="show --json"):
    code, out, _ = run(line)
    assert code == 0
    return {key: (row["value"], row["source"]) for key, row in json.loads(out).items()}


def test_every_setting_is_shown_with_its_value_and_source(run, file, monkeypatch):
    monkeypatch.setenv("TS_METRICS_MODE", "prometheus")
    monkeypatch.setenv("LOG_LOCATION", "/var/log/tsl")

    shown = values(run)

    assert shown["inference_address"] == ("http://127.0.0.1:8080", "default")
    assert shown["job_queue_size"] == ("7", f"file {file}")
    assert shown["metrics_mode"] == ("prometheus", "environment TS_METRICS_MODE")
    assert shown["log_location"] == ("/var/log/tsl", "environment LOG_LOCATION")


def test_secrets_are_masked(run, file):
    assert values(run)["keystore_pass"][0] == MASK
    for line in ("show", "explain keystore_pass"):
        _, out, err = run(line)
        assert "geheim" not in out + err


def test_only_what_is_changed(run, file):
    assert set(values(run, "show --changed --json")) == {
        "enable_envvars_config",
        "keystore_pass",
        "job_queue_size",
    }


def test_the_table_is_for_people_and_notes_are_not_in_it(run, file):
    code, out, err = run("show --changed")

    assert code == 0
    assert out.splitlines()[0].split() == ["SETTING", "VALUE", "SOURCE"]
    assert "vmargs" not in out
    assert "Unknown properties are not used: odd." in err
    assert "of use to the Java server only: vmargs." in err


def test_mistakes_are_all_named(run, tmp_path):
    (tmp_path / "own").write_text("job_queue_size=x\nmax_request_size=y\n")

    code, _, err = run("show --ts-config own")

    assert code == 1
    assert err.count("Invalid configuration: ") == 2


def test_a_setting_is_explained(run, file):
    code, out, _ = run("explain job_queue_size")

    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["value", "7"] in lines
    assert ["default", "100"] in lines
    assert "TS_JOB_QUEUE_SIZE in the environment, if the file has enable_envvars_config" in out


def test_a_setting_is_found_by_its_variable_too(run):
    code, out, _ = run("explain TS_TOKEN_EXPIRATION_TIME_MIN")

    assert code == 0
    assert out.startswith("token_expiration_min\n")


def test_a_setting_of_the_java_server_is_known(run):
    code, out, _ = run("explain vmargs")

    assert code == 0
    assert "not used" in out


@pytest.mark.parametrize(
    ("key", "advice"), [("job_queue", "job_queue_size"), ("zzz", "tsl config show")]
)
def test_an_unknown_setting_gets_an_advice(run, key, advice):
    code, _, err = run(f"explain {key}")

    assert code == 1
    assert f"There is no setting {key}." in err
    assert advice in err
