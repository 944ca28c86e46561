"""A server's command line, and the pid file that scripts read."""

from __future__ import annotations

import sys

import pytest

from tsl.cli.server_process import MARKER, PlainPidFile, server_command


@pytest.fixture
def pid_file(tmp_path):
    return PlainPidFile(tmp_path)


def test_the_argument_list_has_the_name_that_sagemaker_looks_for_as_one_element():
    command = server_command(["start", "--foreground"])

    assert command[0] == sys.executable
    assert command.count(MARKER) == 1
    assert command[-4:] == ["-m", "tsl.cli", "start", "--foreground"]


def test_the_file_holds_the_number_alone(pid_file, tmp_path):
    pid_file.write(1)
    pid_file.write(42)

    assert (tmp_path / ".model_server.pid").read_text() == "42\n"
    assert list(tmp_path.iterdir()) == [pid_file.path]


def test_the_file_is_removed_by_its_own_server_only(pid_file):
    pid_file.write(42)

    pid_file.remove(41)
    assert pid_file.path.exists()

    pid_file.remove(42)
    assert not pid_file.path.exists()
    pid_file.remove(42)


@pytest.mark.parametrize("what", ["a folder", "text"])
def test_something_else_in_its_place_is_no_failure(pid_file, what):
    if what == "a folder":
        pid_file.path.mkdir()
        pid_file.write(42)
        assert list(pid_file.path.parent.iterdir()) == [pid_file.path]
    else:
        pid_file.path.write_text("not a number")
    pid_file.remove(42)

    assert pid_file.path.exists()


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path):
    nowhere = PlainPidFile(tmp_path / "absent")

    nowhere.write(1)
    nowhere.remove(1)
