import json
import zipfile

import pytest
from click.testing import CliRunner

from tsl.cli.archive import command

REQUIRED = ("--model-name", "m", "--version", "1.0", "--handler", "h.py")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in a folder that has a handler."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    (tmp_path / "h.py").write_text("def handle(data, context): return data\n")

    def run(*args):
        return CliRunner().invoke(command, args, standalone_mode=False)

    return run


@pytest.mark.parametrize("first", [(), ("create",)], ids=["archive", "archive create"])
def test_a_model_is_packed(run, tmp_path, first):
    result = run(*first, *REQUIRED)

    size_bytes = (tmp_path / "m.mar").stat().st_size
    assert result.return_value == 0
    assert result.stdout == f"m.mar ({size_bytes} bytes)\n"


def test_every_option_reaches_the_archive(run, tmp_path):
    for name in ("w.pt", "m.py", "r.txt", "c.yaml", "extra.txt"):
        (tmp_path / name).write_text(name)
    options = (
        *("--serialized-file", "w.pt", "--model-file", "m.py", "--extra-files", "extra.txt"),
        *("-r", "r.txt", "-c", "c.yaml", "--runtime", "python3", "--export-path", "out/put"),
        *("--archive-format", "no-archive", "-f"),
    )

    assert run(*REQUIRED, *options).return_value == 0
    assert run(*REQUIRED, *options).return_value == 0

    manifest = json.loads((tmp_path / "out/put/m/MAR-INF/MANIFEST.json").read_text())
    assert manifest["runtime"] == "python3"
    assert sorted(manifest["model"].values()) == [
        *("1.0", "c.yaml", "h.py", "m", "m.py", "r.txt", "w.pt")
    ]
    assert (tmp_path / "out/put/m/extra.txt").exists()


def test_all_problems_go_to_stderr(run):
    result = run(*REQUIRED, "--model-file", "no.py", "--serialized-file", "no.pt")

    assert result.return_value == 1
    assert result.stderr.splitlines() == [
        "Error: --serialized-file: there is no file no.pt.",
        "Error: --model-file: there is no file no.py.",
    ]


def test_a_warning_does_not_stop_it(run):
    result = run(*REQUIRED, "--extra-files", "no*such")

    assert result.return_value == 0
    assert result.stderr == "Warning: --extra-files: nothing matches 'no*such'.\n"


def test_a_wrong_time_in_the_environment_is_a_problem(run, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")

    result = run(*REQUIRED)

    assert result.return_value == 1
    assert "SOURCE_DATE_EPOCH" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("--model-name", "m"),
        (*REQUIRED, "--archive-format", "rar"),
        (*REQUIRED, "--runtime", "java"),
        (*REQUIRED, "extra"),
        ("bogus",),
    ],
    ids=["no version", "format", "runtime", "argument", "command"],
)
def test_a_wrong_command_line_is_a_usage_error(run, args):
    result = run(*args)

    assert result.exception.exit_code == 2


def test_what_is_packed_has_no_problem(run):
    run(*REQUIRED)

    result = run("verify", "m.mar")

    assert result.return_value == 0
    assert result.stdout == "m.mar: no problem found.\n"


def test_what_was_packed_can_be_inspected(run):
    run(*REQUIRED)

    result = run("inspect", "m.mar")

    assert result.return_value == 0
    assert "model     m 1.0\n" in result.stdout


def test_the_manifest_comes_first_in_the_archive(run, tmp_path):
    run(*REQUIRED)

    assert zipfile.ZipFile(tmp_path / "m.mar").namelist() == ["MAR-INF/MANIFEST.json", "h.py"]
