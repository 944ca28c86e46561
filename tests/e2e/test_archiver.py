"""Archives made by the installed command ``torch-model-archiver``, served by a real server."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serving import HANDLERS, TSL

pytestmark = pytest.mark.e2e

ARCHIVER = Path(sys.executable).with_name("torch-model-archiver")
FORMATS = ("default", "zip-store", "tgz", "no-archive")


def run(command, folder):
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def sources(tmp_path):
    """A folder with a handler and its settings."""
    shutil.copy(HANDLERS / "echo.py", tmp_path)
    (tmp_path / "model-config.yaml").write_text("minWorkers: 1\nmaxWorkers: 1\n")
    return tmp_path


def test_archives_of_all_formats_are_served(server, sources):
    models = []
    for archive_format in FORMATS:
        name = f"echo-{archive_format}"
        done = run(
            [
                *(ARCHIVER, "--model-name", name, "--version", "1.0", "--handler", "echo.py"),
                *("--config-file", "model-config.yaml", "--export-path", server.store),
                *("--archive-format", archive_format),
            ],
            sources,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        suffix = {"tgz": ".tar.gz", "no-archive": ""}.get(archive_format, ".mar")
        models.append(f"{name}{suffix}")

    server.start(" ".join(models))

    for archive_format in FORMATS:
        assert server.predict(f"echo-{archive_format}", b"x").content == b"x"
    server.stop()


def test_both_commands_write_the_same_bytes(sources):
    words = ("--model-name", "m", "--version", "1.0", "--handler", "echo")

    first = run([ARCHIVER, *words, "--export-path", "one"], sources)
    second = run([*TSL, "archive", *words, "--export-path", "two"], sources)

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert (sources / "one/m.mar").read_bytes() == (sources / "two/m.mar").read_bytes()


def test_verify_tells_a_good_archive_from_a_bad_one(sources):
    run([*TSL, "archive", "--model-name", "m", "-v", "1.0", "--handler", "echo"], sources)
    good = run([*TSL, "archive", "verify", "m.mar"], sources)
    (sources / "m.mar").write_bytes((sources / "m.mar").read_bytes()[:-10])
    bad = run([*TSL, "archive", "verify", "m.mar"], sources)

    assert good.returncode == 0, good.stderr
    assert bad.returncode == 1
    assert "is damaged" in bad.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 2), (("--model-name", "m", "-v", "1", "--handler", "gone"), 1)],
    ids=["usage", "missing file"],
)
def test_failures_have_the_original_s_exit_codes_and_no_traceback(sources, words, code):
    done = run([ARCHIVER, *words], sources)

    assert done.returncode == code
    assert done.stderr
    assert "Traceback" not in done.stderr
