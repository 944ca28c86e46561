"""What every process that forks workers does: take orders, fork, reap, report.

`Nursery` (one for the server) and `Template` (one for each model that shares its weights) are
fork servers; they differ in what they prepare before a fork and in what the child begins with.
"""

from __future__ import annotations

import os
import random
import select
import socket
import sys
import traceback
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, NoReturn

from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import Exited, Fork, Forked, ForkRefused, Frame

RECEIVE_BYTES: Final = 256 * 1024
FDS_PER_FORK: Final = 2
EXIT_DIED: Final = 1


class ForkServer(ABC):
    """A process with one thread that forks workers on order.

    Args:
        control: connected Unix stream socket to whoever gives the orders.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._decoder = FrameDecoder()
        self._fds: list[int] = []
        self._children: dict[int, tuple[str, int]] = {}  # pidfd -> worker id, pid
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def run(self) -> int:
        """Serve until the control socket is closed at the other end.

        Returns:
            Exit code of the process.
        """
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._control.fileno():
                    if not self._receive():
                        return 0
                elif fd in self._children:
                    self._reap(fd)
                else:
                    self._on_ready(fd)

    # -- what the two kinds do in their own way ------------------------------------------------

    def _on_order(self, frame: Frame) -> None:
        """Act on a frame from the control socket."""
        if not isinstance(frame, Fork):
            msg = f"{type(frame).__name__} sent to a fork server"
            raise ProtocolError(msg)
        out, err = self._take_fds()
        try:
            self._fork(frame, out, err)
        finally:
            os.close(out)
            os.close(err)

    def _on_ready(self, fd: int) -> None:
        """Something else that was registered can be read."""
        raise AssertionError(fd)

    @abstractmethod
    def _prepare(self, order: Fork, out: int, err: int) -> str:
        """Get ready for a fork; the reason why it would not be safe, or ""."""

    @abstractmethod
    def _work(self, order: Fork) -> int:
        """In the child: be the worker; its exit code."""

    def _close_inherited(self) -> None:
        """In the child: close what belongs to the parent."""
        self._control.close()
        for fd in (*self._children, *self._fds):
            os.close(fd)

    # -- what they share -------------------------------------------------------------------------

    def _receive(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, RECEIVE_BYTES, 64)
        self._fds.extend(fds)
        if not data:
            return False
        for frame in self._decoder.feed(data):
            self._on_order(frame)
        return True

    def _take_fds(self) -> tuple[int, int]:
        if len(self._fds) < FDS_PER_FORK:
            raise ProtocolError("a Fork frame without its descriptors")
        out, err = self._fds[:FDS_PER_FORK]
        del self._fds[:FDS_PER_FORK]
        return out, err

    def _fork(self, order: Fork, out: int, err: int) -> None:
        reason = self._prepare(order, out, err) or _unsafe()
        if reason:
            self._send(ForkRefused(order.worker_id, reason))
            return
        try:
            pid = os.fork()
        except OSError as error:  # a limit of the container: one worker less, not all of them
            self._send(ForkRefused(order.worker_id, f"fork failed: {error.strerror}"))
            return
        if pid == 0:
            self._become_worker(order, out, err)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = (order.worker_id, pid)
        self._poll.register(pidfd, select.POLLIN)
        self._send(Forked(order.worker_id, pid))

    def _become_worker(self, order: Fork, out: int, err: int) -> NoReturn:
        """In the child: put the process right, run the worker, and never come back."""
        code = EXIT_DIED
        try:
            self._close_inherited()
            redirect_output(out, err)
            enter_environment(order)
            _reseed()
            _set_threads(os.environ.get("OMP_NUM_THREADS", ""))
            code = self._work(order)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else EXIT_DIED
        except BaseException:  # the boundary of the process
            traceback.print_exc()
        finally:
            leave(code)

    def _reap(self, pidfd: int) -> None:
        worker_id, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send(Exited(worker_id, os.waitstatus_to_exitcode(status)))

    def _send(self, frame: Frame) -> None:
        self._control.sendall(b"".join(encode(frame)))


def redirect_output(out: int, err: int) -> None:
    """Make two descriptors this process's stdout and stderr, and close them."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    # Fresh text streams: the inherited ones belong to another kind of file.
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="backslashreplace")


def enter_environment(order: Fork) -> None:
    """Take over the environment of an order, and what Python reads of it at its start."""
    os.environ.clear()
    pairs = iter(order.environ)
    os.environ.update(zip(pairs, pairs, strict=True))
    for entry in reversed(os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if entry and entry not in sys.path:
            sys.path.insert(0, entry)


def leave(code: int) -> NoReturn:
    """End the process without running what a parent has registered for its own end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed by the handler, or nobody reads it
            continue
    os._exit(code)


def _unsafe() -> str:
    """Why this process must not be forked now, or ""."""
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    return "" if threads == 1 else f"the fork server has {threads} threads"


def _reseed() -> None:
    """Give the child random numbers of its own.

    Each generator by itself, and only those that exist: `numpy.random` that is imported here would cost
    every child 6 MB, and ``torch.random.seed``, which also knows accelerators, 2 MB.
    `benchmarks/memory.py`
    """
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def _set_threads(count: str) -> None:
    """A torch that is already imported does not look at the variable again.

    Setting the number that it has would throw away what oneDNN has prepared in the parent, 5 MB.
    """
    torch = sys.modules.get("torch")
    if torch is None or not count.isdigit() or int(count) == 0:
        return
    if torch.get_num_threads() != int(count):
        torch.set_num_threads(int(count))
