"""``tsl stop``: ask the server to end, and wait until it has."""

from __future__ import annotations

import os
import select
import signal
from typing import Final, Protocol

import click

from .exit_codes import ExitCode
from .pidfile import PidFile, ServerRecord
from .running import NOT_RUNNING, pid_file_of

STOPPED: Final = "TorchServe has stopped."
TOO_LONG: Final = "Stopping TorchServe took too long."


class ServerProcess(Protocol):
    """The process to stop; replaced by a fake in tests."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when the time is over first."""


class PidfdProcess:
    """A process held by a pidfd, so that nobody else can inherit its number meanwhile.

    Args:
        pid: the process.

    Raises:
        ProcessLookupError: there is no such process.
        PermissionError: it belongs to somebody else (from `terminate`).
    """

    def __init__(self, pid: int) -> None:
        self._descriptor: Final = os.pidfd_open(pid)

    def terminate(self) -> None:
        """Send SIGTERM."""
        signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when the time is over first."""
        readable, _, _ = select.select([self._descriptor], [], [], timeout_s)
        return bool(readable)

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._descriptor)


@click.command("stop")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), help="Seconds to wait.")
def command(timeout_s: float | None) -> int:
    """Stop the server and wait until it is gone."""
    pid_file = pid_file_of(os.environ)
    record = pid_file.read()
    if record is None:
        click.echo(NOT_RUNNING)
        return ExitCode.OK
    process = _hold(record, pid_file)
    if process is None:
        click.echo(NOT_RUNNING)
        return ExitCode.OK
    try:
        return stop(process, record.pid, record.stop_within_s if timeout_s is None else timeout_s)
    finally:
        process.close()


def _hold(record: ServerRecord, pid_file: PidFile) -> PidfdProcess | None:
    try:
        process = PidfdProcess(record.pid)
    except ProcessLookupError:
        return None
    # Only now is the number safe from reuse: is it still the server's?
    if pid_file.read() != record:
        process.close()
        return None
    return process


def stop(process: ServerProcess, pid: int, timeout_s: float) -> int:
    """Stop a process and say how it went.

    Args:
        process: the server.
        pid: its number, for the advice.
        timeout_s: seconds to wait.

    Returns:
        The exit code.
    """
    try:
        process.terminate()
    except ProcessLookupError:
        pass  # It ended by itself a moment ago, which is what was asked for.
    except PermissionError:
        click.echo(f"The server, process {pid}, belongs to another user.", err=True)
        click.echo("Stop it as that user.", err=True)
        return ExitCode.FAILED
    if process.wait(timeout_s):
        click.echo(STOPPED)
        return ExitCode.OK
    click.echo(TOO_LONG, err=True)
    click.echo(
        f"Process {pid} was still busy after {timeout_s:g} s. Wait and try again, or end it with "
        f"kill -9 {pid}.",
        err=True,
    )
    return ExitCode.FAILED
