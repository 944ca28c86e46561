"""The front end's end of the nursery's control socket: orders out, reports in.

What the nursery does with them is told in `tsl.backend.nursery`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
from collections.abc import Callable
from typing import Final

from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import Exited, Fork, Forked, ForkRefused, Frame, Unshare

from .nursery_process import NurseryProcess
from .worker_command import worker_arguments, worker_environ
from .worker_output import OutputPipes
from .worker_process import SIGKILL_CODE, WorkerProcess, WorkerSpec

logger = logging.getLogger(__name__)

CLOSE_GRACE_S: Final = 2.0
"""How long the nursery may take to end by itself, and to report the end of a worker."""
UNKNOWN_EXIT_CODE: Final = 255
"""Stands for the exit code of a worker whose end the nursery has not reported."""


class ForkNotPossible(Exception):
    """This worker cannot be forked."""


class NurseryClient:
    """The front end's end of the nursery's control socket."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._decoder = FrameDecoder()
        self._pending: dict[str, asyncio.Future[int]] = {}
        self._children: dict[str, WorkerProcess] = {}
        self._early: dict[str, int] = {}
        self._sending = asyncio.Lock()
        self._blocked: asyncio.Future[None] | None = None
        self.is_dead = False
        asyncio.get_running_loop().add_reader(control, self._readable)

    @classmethod
    async def start(cls, python: str, environ: dict[str, str]) -> NurseryClient:
        """Start the nursery process.

        Raises:
            ForkNotPossible: it cannot be started.
        """
        try:
            started = NurseryProcess.start(python, environ)
        except OSError as error:
            msg = f"the fork server cannot be started ({error})"
            raise ForkNotPossible(msg) from error
        return cls(started.process, started.control)

    async def fork(self, spec: WorkerSpec, on_exit: Callable[[int], None]) -> WorkerProcess:
        """Fork a worker.

        Raises:
            ForkNotPossible: the nursery refuses, or is gone.
        """
        pipes = OutputPipes()
        order = Fork(
            spec.worker_id,
            worker_arguments(spec),
            [text for pair in worker_environ(spec).items() for text in pair],
            spec.model_dir,
            list(spec.preload),
            spec.share,
            spec.load,
        )
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending[spec.worker_id] = future
        try:
            await self._send(order, pipes.child_ends)
            process = WorkerProcess(await future, on_exit)
            pipes.close_child_ends()
            await pipes.connect(spec.label, process.tail, is_marked=spec.marks_output)
        except OSError as error:
            msg = f"the fork server is gone ({error})"
            raise ForkNotPossible(msg) from error
        finally:
            pipes.close()
            del self._pending[spec.worker_id]
            # When the nursery ended meanwhile, nobody is left to report the end of its child.
            early = self._early.pop(spec.worker_id, SIGKILL_CODE if self.is_dead else None)
        self._children[spec.worker_id] = process
        self._watch(spec.worker_id, process.pid)
        if early is not None:  # after the caller has got the process
            asyncio.get_running_loop().call_soon(self._exited, Exited(spec.worker_id, early))
        return process

    def _watch(self, worker_id: str, pid: int) -> None:
        """Notice a worker's end also when the nursery hangs and cannot report it."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return  # it has been reaped, so its end has been reported
        loop = asyncio.get_running_loop()

        def note() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            loop.call_later(CLOSE_GRACE_S, self._exited, Exited(worker_id, UNKNOWN_EXIT_CODE))

        loop.add_reader(pidfd, note)

    async def unshare(self, share: str) -> None:
        """Let a shared model go."""
        try:
            await self._send(Unshare(share), [])
        except (ForkNotPossible, OSError) as error:
            logger.info("the fork server is gone (%s), and the shared model with it", error)

    async def close(self) -> None:
        """Close the control socket, which ends the nursery, and wait for its end."""
        self._fail(ForkNotPossible("the server is stopping"))
        try:
            await asyncio.to_thread(self._process.wait, CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:  # it hangs, in an import most likely
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    async def _send(self, frame: Frame, fds: list[int]) -> None:
        """Send a frame with descriptors; waits while the nursery is busy importing.

        One frame at a time: what a full socket does not take at once must not end up behind the
        beginning of another frame.
        """
        data = b"".join(encode(frame))
        async with self._sending:
            sent = 0
            while not sent:
                try:
                    sent = socket.send_fds(self._control, [data], fds)
                except BlockingIOError:
                    await self._writable()
            if sent < len(data):
                await asyncio.get_running_loop().sock_sendall(self._control, data[sent:])

    async def _writable(self) -> None:
        """Wait until the socket takes data again; `_fail` ends the wait, too."""
        loop = asyncio.get_running_loop()
        future = self._blocked = loop.create_future()
        loop.add_writer(self._control, self._unblock)
        await future

    def _unblock(self) -> None:
        """Stop watching for room in the socket, and let a waiting `_send` go on."""
        future, self._blocked = self._blocked, None
        if future is not None:
            asyncio.get_running_loop().remove_writer(self._control)
            if not future.done():
                future.set_result(None)

    def _readable(self) -> None:
        try:
            data = self._control.recv(256 * 1024)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            logger.error("the fork server ended; its workers end with it")
            self._fail(ForkNotPossible("the fork server ended"))
            return
        try:
            for frame in self._decoder.feed(data):
                self._receive(frame)
        except ProtocolError:
            logger.exception("the fork server broke the protocol")
            self._fail(ForkNotPossible("the fork server broke the protocol"))

    def _receive(self, frame: Frame) -> None:
        if isinstance(frame, Forked):
            if waiting := self._waiting_for(frame.worker_id):
                waiting.set_result(frame.pid)
        elif isinstance(frame, ForkRefused):
            if waiting := self._waiting_for(frame.worker_id):
                waiting.set_exception(ForkNotPossible(frame.reason))
        elif isinstance(frame, Exited):
            self._exited(frame)
        else:
            msg = f"{type(frame).__name__} from the nursery"
            raise ProtocolError(msg)

    def _waiting_for(self, worker_id: str) -> asyncio.Future[int] | None:
        """Who waits for an answer about this worker; nobody, when its start was cancelled.

        Such a worker is not expected by the listener any more and ends by itself.
        """
        future = self._pending.get(worker_id)
        return None if future is None or future.done() else future

    def _exited(self, frame: Exited) -> None:
        if frame.worker_id in self._pending:  # `fork` has not returned it yet, and will report it
            self._early[frame.worker_id] = frame.returncode
            return
        child = self._children.pop(frame.worker_id, None)
        if child is not None:
            child.exited(frame.returncode)

    def _fail(self, error: ForkNotPossible) -> None:
        if self.is_dead:
            return
        self.is_dead = True
        asyncio.get_running_loop().remove_reader(self._control)
        self._unblock()
        self._control.close()
        for worker_id, future in self._pending.items():
            if future.done():
                self._early.setdefault(worker_id, SIGKILL_CODE)
            else:
                future.set_exception(error)
        for process in list(self._children.values()):
            # Nobody is left to tell how they end: PR_SET_PDEATHSIG kills them with the nursery.
            process.exited(SIGKILL_CODE)
        self._children.clear()
