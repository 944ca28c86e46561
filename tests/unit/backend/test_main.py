"""What the worker's main function does to its process, as far as a test can undo it."""

import os
import sys
from pathlib import Path

import pytest

from tsl.backend.__main__ import _exit_code, _parse, enter_model_dir
from tsl.backend.worker import EXIT_DIED


@pytest.fixture(autouse=True)
def _restored(monkeypatch, tmp_path):
    """Working directory, import path and environment come back after each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/usr/lib/python"])
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture
def model_dir(tmp_path):
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    return folder


def test_the_models_folder_is_where_the_worker_works_and_imports(model_dir):
    enter_model_dir(str(model_dir), "h.py")

    assert Path.cwd() == model_dir
    assert sys.path == [str(model_dir), "/usr/lib/python"]
    assert os.environ["PYTHONPATH"] == str(model_dir)


def test_packages_beside_a_linked_folder_can_be_imported(model_dir, tmp_path):
    (tmp_path / "link").symlink_to(model_dir)

    enter_model_dir(str(tmp_path / "link"), "h.py")

    assert sys.path == [str(model_dir), str(tmp_path), "/usr/lib/python"]


def test_a_handler_string_with_a_folder_adds_that_folder(model_dir):
    enter_model_dir(str(model_dir), "src/h:run")

    assert sys.path == [str(model_dir), str(model_dir / "src"), "/usr/lib/python"]


def test_what_python_path_had_comes_behind_and_nothing_twice(model_dir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"/a:{model_dir}:/b:")
    monkeypatch.setattr(sys, "path", ["/a", str(model_dir), "/b"])

    enter_model_dir(str(model_dir), "h.py")

    assert sys.path == [str(model_dir), "/a", "/b"]
    assert os.environ["PYTHONPATH"] == f"{model_dir}:/a:/b"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (7, 7),
        (0, EXIT_DIED),
        (None, EXIT_DIED),
        ("why", EXIT_DIED),
        (3, EXIT_DIED),
        (256, EXIT_DIED),
    ],
    ids=["own", "zero", "none", "text", "cannot-load", "zero-after-all"],
)
def test_a_handler_that_exits_never_looks_like_a_worker_that_was_stopped(code, expected):
    assert _exit_code(SystemExit(code)) == expected


def test_the_command_line_names_socket_and_worker():
    args = _parse(["--socket", "/run/s", "--worker-id", "w9"])

    assert (args.socket, args.worker_id) == ("/run/s", "w9")
