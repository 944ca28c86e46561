"""Start a process for a measurement, and be sure that it is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import psutil

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
    tree = Tree(process.pid)
    below = tree.members()
    tree.resume()  # what is paused cannot end in good order
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        print(f"{process.args!r} does not stop; killing it", file=sys.stderr)
        process.kill()
        process.wait()
    for action in (psutil.Process.terminate, psutil.Process.kill):  # what it left behind
        below = [one for one in below if one.is_running()]
        for one in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                action(one)
        psutil.wait_procs(below, timeout=_STOP_S / 5)


class Tree:
    """A process and all below it.

    Args:
        pid: of the root.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def members(self) -> list[psutil.Process]:
        """Those that live, the root first."""
        try:
            root = psutil.Process(self._pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def pause(self) -> None:
        """Stop all of them where they are, so that they take no processor time."""
        self._each(psutil.Process.suspend)

    def resume(self) -> None:
        """Let them go on, what is below first."""
        self._each(psutil.Process.resume)

    def _each(self, action: Callable[[psutil.Process], None]) -> None:
        for one in reversed(self.members()):
            with contextlib.suppress(psutil.NoSuchProcess):
                action(one)

    def cpu_seconds(self) -> float:
        """Processor time of all living threads so far."""
        return sum(cpu_seconds(one.pid) for one in self.members())

    def memory_mb(self) -> dict[str, float]:
        """``pss``: their pages, shared ones by share; ``uss``: what would be free without them.

        ``first`` is the PSS of the process that was started, for tsl its front end.
        """
        found = []
        for one in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(one.memory_full_info())
        return {
            "first": found[0].pss / 1e6 if found else 0.0,
            "pss": sum(info.pss for info in found) / 1e6,
            "uss": sum(info.uss for info in found) / 1e6,
            "processes": len(found),
        }


def free_ports(count: int) -> list[int]:
    """TCP ports of the loopback address that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def cpu_seconds(pid: int) -> float:
    """Processor time of all living threads of a process so far."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            nanoseconds += int(task.read_text(encoding="ascii").split()[0])
    return nanoseconds / 1e9


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind as Ctrl-C does, so that every ``with`` block cleans up.

    Not by SystemExit: that would be taken for the failure of the server that is being measured.
    """

    def leave(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
