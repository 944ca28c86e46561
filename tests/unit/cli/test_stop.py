"""``tsl stop``: what is said, and which exit code."""

from __future__ import annotations

from click.testing import CliRunner

from tsl.cli.stop import command, stop


class FakeProcess:
    """A process that ends, or does not."""

    def __init__(self, ends=True, error=None):
        self.ends = ends
        self.error = error
        self.terminated = False
        self.waited_s = None

    def terminate(self):
        if self.error:
            raise self.error
        self.terminated = True

    def wait(self, timeout_s):
        self.waited_s = timeout_s
        return self.ends


def test_without_a_server_nothing_is_done_and_that_is_fine(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMP", str(tmp_path))

    result = CliRunner().invoke(command, standalone_mode=False)

    assert result.return_value == 0
    assert result.stdout == "TorchServe is not currently running.\n"


def test_a_server_that_ends_has_stopped(capsys):
    process = FakeProcess()

    code = stop(process, 7, 40.0)

    assert code == 0
    assert process.terminated
    assert process.waited_s == 40.0
    assert capsys.readouterr().out == "TorchServe has stopped.\n"


def test_a_server_that_does_not_end_is_reported_with_advice(capsys):
    code = stop(FakeProcess(ends=False), 7, 40.0)

    assert code == 1
    assert capsys.readouterr().err.splitlines() == [
        "Stopping TorchServe took too long.",
        "Process 7 was still busy after 40 s. Wait and try again, or end it with kill -9 7.",
    ]


def test_a_server_that_has_just_ended_by_itself_has_stopped():
    assert stop(FakeProcess(error=ProcessLookupError()), 7, 1.0) == 0


def test_the_server_of_another_user_is_left_alone(capsys):
    assert stop(FakeProcess(error=PermissionError()), 7, 1.0) == 1
    assert "another user" in capsys.readouterr().err
