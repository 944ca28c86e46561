"""Where the commands look for the server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tsl.cli.running import pid_file_of
from tsl.frontend.config import ServerConfig


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"TEMP": "/a", "TMPDIR": "/b"}, "/a"),
        ({"TMPDIR": "/b"}, "/b"),
        ({"TEMP": "", "TMPDIR": "/b"}, "/b"),
        ({}, tempfile.gettempdir()),
    ],
    ids=["TEMP", "TMPDIR", "empty TEMP", "neither"],
)
def test_the_pid_file_is_in_the_work_dir_of_the_configuration(environ, folder):
    path = pid_file_of(environ).path

    assert path.parent == Path(folder)
    assert path.parent == ServerConfig.load(None, environ, {}).work_dir
