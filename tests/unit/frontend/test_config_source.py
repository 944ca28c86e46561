"""Which file counts, and what happens when a snapshot is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import javaproperties
import pytest

from tsl.frontend.config import ServerConfig
from tsl.frontend.config_source import find_config, read_config_file
from tsl.protocol.errors import ConfigError

MODELS = json.dumps({"models": {"m": {"1.0": {"marName": "m.mar"}}}})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "logs" / "config").mkdir(parents=True)
    return tmp_path


def write_snapshot(folder, number, *, logs="logs", **lines):
    """A snapshot made in the second ``number``."""
    path = folder / logs / "config" / f"202601010000{number:02}000-snapshot.cfg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(javaproperties.dumps({"tsConfigFile": "absent", **lines}))
    return path


def find(folder, option=None, environ=None, **options):
    return find_config(environ or {}, option, folder, **options)


# -- the order


def test_the_variable_beats_everything(folder):
    for name in ("env", "option", "config.properties"):
        (folder / name).write_text(f"model_store={name}")

    found = find(folder, folder / "option", {"TS_CONFIG_FILE": str(folder / "env")})

    assert found.file == found.notes.file == folder / "env"


def test_the_option_beats_snapshot_and_folder(folder):
    (folder / "option").touch()
    (folder / "config.properties").touch()
    write_snapshot(folder, 1, model_snapshot=MODELS)

    assert find(folder, folder / "option").file == folder / "option"


def test_a_snapshot_beats_the_folder_and_says_so(folder):
    (folder / "config.properties").write_text("job_queue_size=3")
    write_snapshot(folder, 1, model_snapshot=MODELS)
    newest = write_snapshot(folder, 2, model_snapshot=MODELS, job_queue_size="4")

    found = find(folder)

    assert found.file == found.notes.snapshot_file == newest
    assert ServerConfig.load(found.text, {}, {}).job_queue_size == 4
    (warning,) = found.notes.warnings
    assert str(newest) in warning
    assert f"not {folder / 'config.properties'}" in warning
    assert "--ncs" in warning


def test_snapshots_can_be_left_aside(folder):
    (folder / "config.properties").touch()
    write_snapshot(folder, 1, model_snapshot=MODELS)

    assert find(folder, use_snapshots=False).file == folder / "config.properties"


def test_without_anything_there_is_no_file(folder):
    assert find(folder).file is None
    assert find(folder).text is None


@pytest.mark.parametrize("how", ["variable", "file"])
def test_snapshots_are_looked_for_where_the_logs_are(folder, how):
    newest = write_snapshot(folder, 1, logs="elsewhere", model_snapshot=MODELS)
    environ = {"LOG_LOCATION": str(folder / "elsewhere")} if how == "variable" else {}
    if how == "file":
        (folder / "config.properties").write_text("log_location=elsewhere")

    assert find(folder, environ=environ).file == newest


# -- damaged files


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"model_snapshot": MODELS[:20]},
        {"model_snapshot": '{"models": 3}'},
        {"model_snapshot": MODELS, "job_queue_size": "x"},
    ],
    ids=["no end", "half a document", "no models", "a wrong setting"],
)
def test_a_damaged_snapshot_is_reported_and_the_one_before_it_used(folder, damaged):
    good = write_snapshot(folder, 1, model_snapshot=MODELS)
    bad = write_snapshot(folder, 2, **damaged)

    found = find(folder)

    assert found.file == good
    assert f"{bad} cannot be used, the one before it is tried" in found.notes.warnings[0]


def test_a_file_of_zero_bytes_is_passed_over(folder):
    (folder / "logs" / "config" / "20260101000000000-startup.cfg").touch()
    (folder / "config.properties").touch()

    found = find(folder)

    assert found.file == folder / "config.properties"
    assert "its end is missing" in found.notes.warnings[0]


def test_foreign_files_in_the_folder_do_not_matter(folder):
    good = write_snapshot(folder, 1, model_snapshot=MODELS)
    (good.parent / "zzz.cfg").write_text("x")
    (good.parent / ".writing-abc").write_text("x")
    (good.parent / "99999999999999999-startup.cfg").write_text("x")

    assert find(folder).file == good


def test_a_chosen_snapshot_that_is_damaged_ends_the_start_and_names_the_one_before(folder):
    good = write_snapshot(folder, 1, model_snapshot=MODELS)
    write_snapshot(folder, 2)
    bad = write_snapshot(folder, 3, model_snapshot="{")
    write_snapshot(folder, 4, model_snapshot=MODELS)

    with pytest.raises(ConfigError) as caught:
        find(folder, bad)

    assert str(bad) in caught.value.problems[0]
    assert caught.value.problems[1].endswith(f"--ts-config {good}")


def test_a_chosen_snapshot_without_one_before_it_gets_another_advice(folder):
    bad = write_snapshot(folder, 3)

    with pytest.raises(ConfigError, match="no usable snapshot before it"):
        find(folder, bad)


# -- secrets


def test_a_snapshot_gets_its_secrets_from_the_file_it_was_made_with(folder):
    (folder / "own.properties").write_text("keystore_pass=geheim\njob_queue_size=9\n")
    write_snapshot(folder, 1, model_snapshot=MODELS, tsConfigFile="own.properties")

    found = find(folder)

    config = ServerConfig.load(found.text, {}, {}, notes=found.notes)
    assert config.keystore_pass == "geheim"
    assert config.job_queue_size == 100
    assert config.file == folder / "own.properties"


# -- reading


def test_a_missing_file_is_a_problem_that_names_it(folder):
    with pytest.raises(ConfigError, match=r"absent\.properties"):
        find(folder, Path("absent.properties"))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_both_usual_encodings_are_read(tmp_path, encoding):
    file = tmp_path / "c"
    file.write_bytes("a=ä".encode(encoding))

    assert read_config_file(file) == "a=ä"


def test_a_wrong_escape_is_left_to_the_validation(folder):
    (folder / "config.properties").write_text("model_store=C:\\users")

    assert find(folder).text == "model_store=C:\\users"
