"""Start a process for a measurement, and be sure that it is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
"""The checkout; ``python -m benchmarks…`` works there."""

_STOP_S: Final = 15.0


@contextlib.contextmanager
def running(
    argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None, errors: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command for as long as the block lasts.

    It gets a session of its own, so that Ctrl-C reaches the benchmark alone, which then ends the
    command in good order.

    Args:
        argv: the command line.
        cwd: its working folder.
        environ: added to this process's environment.
        errors: file for its stderr; stdout is thrown away.
    """
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        print(f"process {process.pid} does not stop; killing it", file=sys.stderr)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_ports(count: int) -> list[int]:
    """TCP ports of the loopback address that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def cpu_seconds(pid: int) -> float:
    """Processor time of all living threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind like Ctrl-C, so that every ``with`` block cleans up."""

    def leave(*_: object) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)
