"""The fork server's process: started before anything else, and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tsl.frontend.nursery_process import NurseryProcess
from tsl.protocol.codec import encode
from tsl.protocol.frames import Preload


def test_starting_it_needs_neither_settings_nor_protocol():
    show = "import tsl.cli.start, sys; print(*sys.modules)"

    listed = subprocess.run(
        [sys.executable, "-P", "-c", show], capture_output=True, text=True, check=True, timeout=60
    )

    loaded = set(listed.stdout.split())
    assert "tsl.frontend.nursery_process" in loaded
    assert loaded.isdisjoint({"tsl.frontend.config", "tsl.protocol", "tsl.model_store", "yaml"})


def test_it_gets_the_environment_without_secrets_and_one_thread(monkeypatch):
    calls = []

    def start(python, environ):
        calls.append((python, environ))
        return "process"

    monkeypatch.setattr(NurseryProcess, "start", start)

    assert NurseryProcess.begin({"TSL_MANAGEMENT_KEY": "x" * 20, "A": "1"}) == "process"

    ((python, environ),) = calls
    assert python == sys.executable
    assert environ["A"] == "1"
    assert environ["OPENBLAS_NUM_THREADS"] == "1"
    assert "TSL_MANAGEMENT_KEY" not in environ


def test_one_that_cannot_be_started_is_left_to_the_server(monkeypatch):
    def refuse(python, environ):
        raise OSError("no more processes")

    monkeypatch.setattr(NurseryProcess, "start", refuse)

    assert NurseryProcess.begin({}) is None


def test_ending_it_twice_is_fine_and_nothing_of_it_is_left():
    ours, theirs = socket.socketpair()
    theirs.close()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    nursery = NurseryProcess(process, ours)

    nursery.end()
    nursery.end()

    process.stdin.close()
    assert process.returncode == -9
    assert ours.fileno() == -1


def test_it_imports_what_it_is_told_and_ends_with_its_socket(tmp_path):
    """The real one: variables come first, and what is not installed does no harm."""
    source = "import os, pathlib\npathlib.Path(__file__).with_suffix('.txt').write_text(os.environ['A'])\n"
    (tmp_path / "module_of_the_test.py").write_text(source)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    order = Preload(["no_such_module", "module_of_the_test"], ["A", "told"])
    nursery = NurseryProcess.start(sys.executable, environ)

    nursery.control.sendall(b"".join(encode(order)))
    nursery.control.shutdown(socket.SHUT_WR)

    assert nursery.process.wait(30) == 0
    nursery.control.close()
    assert (tmp_path / "module_of_the_test.txt").read_text() == "told"
