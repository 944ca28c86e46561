"""One operating-system process of a worker: its pid, its end, and the signals it gets.

How the process came to be is the launcher's business (`launcher`); this module is what both ways
of starting have in common.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from tsl.protocol.output_marks import VARIABLE

from .worker_output import new_tail

SIGKILL_CODE: Final = -int(signal.SIGKILL)
"""Return code of a process that was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a launcher needs to know to start a worker.

    Attributes:
        worker_id: unique in this server, also after restarts.
        label: name for logs, ``W-<number>-<model>_<version>``.
        token: the secret the worker proves itself with.
        socket_path: where it connects to.
        model_dir: its working directory.
        environ: its whole environment.
        preload: modules it is going to need; a fork server imports them once.
        start: ``auto``, ``fork`` or ``spawn``.
        share: name of the model that this worker may share with others, or "".
        load: with ``share``, the encoded frame that tells the worker what to load.
        python: interpreter of a fresh process; "" for the server's own.
    """

    worker_id: str
    label: str
    token: str = field(repr=False)
    socket_path: str
    model_dir: str
    environ: dict[str, str] = field(repr=False)
    preload: tuple[str, ...] = ()
    start: str = "auto"
    share: str = ""
    load: bytes = field(default=b"", repr=False)
    python: str = ""

    @property
    def marks_output(self) -> bool:
        """Whether the worker's lines say which requests they belong to."""
        return VARIABLE in self.environ


class Process(Protocol):
    """What a worker runs in.

    Attributes:
        returncode: None while it runs, then the exit code, or minus the signal number.
    """

    returncode: int | None

    @property
    def pid(self) -> int:
        """Process id."""

    @property
    def tail(self) -> deque[str]:
        """The last lines of its stderr."""

    def kill(self) -> None:
        """End it now."""

    def abort(self) -> None:
        """Make it write the stack of every thread to its log, and end."""


class WorkerProcess:
    """A started process.

    Args:
        pid: its process id. Signals go through a pidfd, because a process that the nursery
            forked is also reaped there: its number may be somebody else's by the time we know.
        on_exit: called once with the return code: exit code, or minus the signal number.
    """

    __slots__ = ("_on_exit", "_pidfd", "pid", "returncode", "tail")

    def __init__(self, pid: int, on_exit: Callable[[int], None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.tail = new_tail()
        self._on_exit = on_exit
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._pidfd = -1

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else exit_cause(self.returncode)
        return f"<WorkerProcess {self.pid} {state}>"

    def exited(self, returncode: int) -> None:
        """Record the end; the launcher calls this once."""
        if self.returncode is None:
            self.returncode = returncode
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
            self._on_exit(returncode)

    def kill(self) -> None:
        """End the process now."""
        self._signal(signal.SIGKILL)

    def abort(self) -> None:
        """Make the process write the stack of every thread to its log, and end."""
        self._signal(signal.SIGABRT)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
                signal.pidfd_send_signal(self._pidfd, number)


def exit_cause(returncode: int) -> str:
    """In words: ``exit code 1``, ``signal SIGSEGV``, ``signal SIGKILL (out of memory?)``."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = str(-returncode)
    hint = " (out of memory?)" if -returncode == signal.SIGKILL else ""
    return f"signal {name}{hint}"
