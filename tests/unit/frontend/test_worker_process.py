"""A process's end and the signals it gets; no process is started here."""

from __future__ import annotations

import os
import signal

import pytest

from tsl.frontend import worker_process
from tsl.frontend.worker_process import WorkerProcess, WorkerSpec, exit_cause


@pytest.fixture
def signals(monkeypatch):
    """Signals that were sent; the pidfd is a pipe's end."""
    sent = []
    ends = []

    def pidfd_open(pid):
        reader, writer = os.pipe()
        ends.append(writer)
        return reader

    monkeypatch.setattr(worker_process.os, "pidfd_open", pidfd_open)
    monkeypatch.setattr(
        worker_process.signal, "pidfd_send_signal", lambda fd, number: sent.append(number)
    )
    yield sent
    for end in ends:
        os.close(end)


def test_the_end_is_reported_once(signals):
    codes = []
    process = WorkerProcess(42, codes.append)
    assert repr(process) == "<WorkerProcess 42 running>"

    process.exited(3)
    process.exited(4)

    assert codes == [3]
    assert process.returncode == 3
    assert repr(process) == "<WorkerProcess 42 exit code 3>"


def test_signals_go_through_the_descriptor(signals):
    process = WorkerProcess(42, lambda code: None)

    process.abort()
    process.kill()
    process.exited(-9)

    assert signals == [signal.SIGABRT, signal.SIGKILL]


def test_nobody_is_signalled_after_the_end(signals):
    """The number may belong to somebody else by then."""
    process = WorkerProcess(42, lambda code: None)
    process.exited(0)

    process.kill()
    process.abort()

    assert signals == []


def test_a_process_that_ended_before_it_could_be_watched(monkeypatch):
    def gone(pid):
        raise ProcessLookupError

    monkeypatch.setattr(worker_process.os, "pidfd_open", gone)
    codes = []
    process = WorkerProcess(42, codes.append)

    process.kill()
    process.exited(1)

    assert codes == [1]


def test_a_process_that_ends_while_it_is_signalled(signals, monkeypatch):
    def gone(fd, number):
        raise ProcessLookupError

    monkeypatch.setattr(worker_process.signal, "pidfd_send_signal", gone)
    process = WorkerProcess(42, lambda code: None)

    process.kill()
    process.exited(0)

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("returncode", "text"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (-9, "signal SIGKILL (out of memory?)"),
        (-11, "signal SIGSEGV"),
        (-250, "signal 250"),
    ],
)
def test_the_cause_in_words(returncode, text):
    assert exit_cause(returncode) == text


def test_secrets_are_not_shown():
    spec = WorkerSpec(
        worker_id="w", label="W", token="secret", socket_path="/s", model_dir="/m",
        environ={"KEY": "hidden"},
    )  # fmt: skip

    assert "secret" not in repr(spec)
    assert "hidden" not in repr(spec)
