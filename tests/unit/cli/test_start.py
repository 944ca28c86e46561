"""``tsl start``: from words to a configuration."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tsl.cli import start as start_module
from tsl.cli import starting
from tsl.cli.pidfile import PidFile
from tsl.cli.start import command
from tsl.cli.start_options import StartOptions
from tsl.cli.starting import configure
from tsl.frontend.config_fields import InitialModels
from tsl.protocol.errors import ConfigError


@pytest.fixture
def started(monkeypatch):
    """What would have been started: (options, configuration)."""
    calls = []

    def remember(options, config, nursery=None):
        calls.append((options, config))
        return 0

    monkeypatch.setattr(starting, "_serve", remember)
    monkeypatch.setattr(starting, "_launch", remember)
    monkeypatch.setattr(start_module.NurseryProcess, "begin", lambda environ: None)
    return calls


@pytest.fixture
def run(tmp_path, monkeypatch, started):
    """Run a command line in an empty folder that has a model store."""
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMP", str(tmp_path))
    for name in ("TS_CONFIG_FILE", "LOG_LOCATION", "METRICS_LOCATION"):
        monkeypatch.delenv(name, raising=False)

    def invoke(line):
        return CliRunner().invoke(command, line.split(), standalone_mode=False)

    return invoke


def options_of(line):
    context = command.make_context("start", line.split())
    return StartOptions(**context.params)


# -- words to settings


@pytest.mark.parametrize(
    ("words", "listed"),
    [
        ("--models a=b.mar c.mar", (("a", "b.mar"), ("", "c.mar"))),
        ("--models a.mar --models b.mar", (("", "a.mar"), ("", "b.mar"))),
        ("--models a.mar,b.mar", (("", "a.mar"), ("", "b.mar"))),
        ("--models=a=b.mar", (("a", "b.mar"),)),
        ("--models a.mar --ncs", (("", "a.mar"),)),
    ],
    ids=["words", "repeated", "commas", "equals", "option behind"],
)
def test_models_can_be_written_in_every_way(run, started, words, listed):
    run(f"--model-store store {words}")

    assert started[0][1].load_models == InitialModels(listed=listed)


def test_the_argv_of_kserve_is_understood(run, started, tmp_path):
    (tmp_path / "c.properties").write_text("job_queue_size=5\n")

    run("--model-store=store --ts-config=c.properties")

    assert started[0][1].job_queue_size == 5
    assert started[0][1].model_store == Path("store")


def test_switches_can_only_switch_on(run, started, tmp_path):
    (tmp_path / "config.properties").write_text(
        "enable_model_api=true\ndisable_token_authorization=true\n"
    )

    run("--model-store store")
    run("--model-store store --enable-model-api --dt")

    for _, config in started:
        assert config.enable_model_api
        assert config.disable_token_authorization


def test_the_file_alone_can_name_the_store(run, started, tmp_path):
    (tmp_path / "config.properties").write_text("model_store=store\n")
    (tmp_path / "log4j2.xml").write_text("<Configuration/>")

    run("--foreground --ncs --log-config log4j2.xml")

    assert started[0][1].model_store == Path("store")
    assert started[0][1].sources["model_store"] == "file"


def test_addresses_can_be_given(run, started):
    run("--model-store store --inference-address http://0.0.0.0:1 --metrics-address unix:/m")

    assert started[0][1].inference_address.url == "http://0.0.0.0:1"
    assert started[0][1].metrics_address.url == "unix:/m"


def test_any_setting_can_be_given_and_an_option_of_its_own_counts_more(run, started):
    run(
        "--model-store store --set job_queue_size=7 --set model_store=x "
        "--set=cors_allowed_origin=a=b"
    )

    config = started[0][1]
    assert config.job_queue_size == 7
    assert config.cors_allowed_origin == "a=b"
    assert config.model_store == Path("store")
    assert config.sources["job_queue_size"] == "command line"


def test_a_setting_that_is_none_is_refused(run, started):
    result = run("--model-store store --set quee=1")
    assert result.return_value == 1
    assert "quee: there is no such setting" in result.stderr

    for line in ("--set quee", "--set =1"):
        with pytest.raises(click.UsageError, match="expected KEY=VALUE"):
            options_of(f"--model-store store {line}").overrides()
    assert not started


def test_a_command_line_for_the_background_means_the_same():
    line = (
        "--model-store=/a b --models=x=y.mar --models=z.mar --workflow-store=/w --ncs --dt "
        "--enable-model-api --ts-config=/c --inference-address=http://h --log-config=/l "
        "--set=debug=true"
    )
    given = options_of(line.replace("/a b", "/a"))

    again = StartOptions(**command.make_context("start", given.words()[1:]).params)

    assert again.foreground
    assert again.overrides() == given.overrides()
    assert again.ts_config == given.ts_config
    assert again.no_config_snapshots


# -- failures


def test_a_missing_store_has_the_words_of_torchserve_and_an_advice(run, started):
    result = run("")

    first, second = result.stderr.splitlines()
    assert result.return_value == 1
    assert first == "Missing mandatory parameter --model-store"
    assert "tsl start --demo" in second
    assert not started


def test_a_store_that_does_not_exist_is_named(run):
    result = run("--model-store nowhere")

    assert result.return_value == 1
    assert result.stderr.startswith("The model store nowhere is not a folder.\n")


def test_all_problems_of_the_configuration_are_shown(run, tmp_path):
    (tmp_path / "config.properties").write_text("job_queue_size=x\nmodels={\n")

    result = run("--model-store store")

    lines = result.stderr.splitlines()
    assert result.return_value == 1
    assert len(lines) == 3
    assert lines[0].startswith("Invalid configuration: ")
    assert "config.properties" in lines[2]


def test_a_configuration_file_that_is_not_there_is_named(run):
    result = run("--model-store store --ts-config absent.properties")

    assert result.return_value == 1
    assert "absent.properties cannot be read" in result.stderr


def test_a_log_configuration_that_is_not_there_is_named(run, started):
    result = run("--model-store store --log-config absent.xml")

    assert result.return_value == 1
    assert result.stderr.startswith(
        "The log configuration absent.xml cannot be read: No such file or directory.\n"
    )
    assert not started


def test_the_newest_snapshot_counts_unless_it_is_switched_off(run, started, tmp_path):
    folder = tmp_path / "logs" / "config"
    folder.mkdir(parents=True)
    (folder / "20260101000000000-startup.cfg").write_text(
        'model_store=store\nmodel_snapshot={"models": {}}\n'
    )

    run("")
    run("--ncs --model-store store")

    assert [config.model_snapshot is None for _, config in started] == [False, True]
    assert [config.config_snapshots for _, config in started] == [True, False]


def test_a_work_dir_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigError, match="working folder") as caught:
        configure(
            options_of(f"--model-store {tmp_path}"), {"TEMP": str(tmp_path / "gone")}, tmp_path
        )

    assert "TMPDIR" in caught.value.problems[-1]


def test_a_running_server_keeps_a_second_one_from_being_launched(tmp_path, monkeypatch, record):
    monkeypatch.setenv("TEMP", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    PidFile(tmp_path).claim(record)

    result = CliRunner().invoke(command, ["--model-store", str(tmp_path)], standalone_mode=False)

    assert result.return_value == 1
    assert "already running" in result.stderr


class Nursery:
    """A fork server that is started before the configuration is read."""

    def __init__(self):
        self.ends = 0

    def end(self):
        self.ends += 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--foreground --model-store store", 0),
        ("--foreground --model-store nowhere", 1),
        ("--foreground --demo --models a.mar", None),
    ],
)
def test_the_fork_server_of_a_start_ends_with_it(run, monkeypatch, line, code):
    nursery = Nursery()
    monkeypatch.setattr(start_module.NurseryProcess, "begin", lambda environ: nursery)

    assert run(line).return_value == code

    assert nursery.ends == 1


def test_a_launch_in_the_background_starts_no_fork_server(run, monkeypatch):
    monkeypatch.setattr(
        start_module.NurseryProcess, "begin", lambda environ: pytest.fail("started")
    )

    assert run("--model-store store").return_value == 0


# -- demo


def test_the_demo_serves_what_it_builds(run, started, tmp_path, monkeypatch):
    def build_demo(target, progress):
        progress("building")
        return types.SimpleNamespace(
            model_store=tmp_path / "store",
            models="a.mar,b.mar",
            curl_lines=("curl {inference}/x y",),
        )

    monkeypatch.setitem(sys.modules, "tsl.cli.demo", types.SimpleNamespace(build_demo=build_demo))

    result = run("--demo")

    options, config = started[0]
    assert result.stdout == "building\n"
    assert config.load_models.listed == (("", "a.mar"), ("", "b.mar"))
    assert "--curl-line=curl {inference}/x y" in options.words()
    assert "--demo" not in options.words()


def test_a_demo_that_cannot_be_written_says_where(run, monkeypatch):
    def build_demo(target, progress):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(sys.modules, "tsl.cli.demo", types.SimpleNamespace(build_demo=build_demo))

    result = run("--demo")

    assert result.return_value == 1
    assert "model_store_demo: Permission denied" in result.stderr


@pytest.mark.parametrize("words", ["--model-store store", "--models all"])
def test_the_demo_does_not_take_other_models(run, words):
    result = run(f"--demo {words}")

    assert isinstance(result.exception, click.UsageError)
