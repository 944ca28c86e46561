"""Start worker processes: afresh, or forked from the nursery.

`ProcessLauncher` is the interface the rest of the front end sees; a launcher for other machines
would be another implementation of it. `LocalLauncher` prefers the nursery and falls back to a
fresh process where a fork is not safe, or where the model asks for it (``workerStart: spawn``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from .child_process import SAFE_PATH
from .nursery_client import ForkNotPossible, NurseryClient
from .nursery_process import NurseryProcess
from .worker_command import worker_arguments, worker_environ
from .worker_output import OutputPipes
from .worker_process import Process, WorkerProcess, WorkerSpec

logger = logging.getLogger(__name__)


class LaunchError(Exception):
    """The process could not be started at all."""


class ProcessLauncher(Protocol):
    """Starts workers somewhere."""

    async def launch(self, spec: WorkerSpec, on_exit: Callable[[int], None]) -> Process:
        """Start one worker.

        Args:
            spec: what to start.
            on_exit: called once with the return code when it has ended.

        Raises:
            LaunchError: it could not be started.
        """

    async def forget(self, share: str) -> None:
        """No worker will be started for this shared model any more."""

    async def close(self) -> None:
        """Release what the launcher holds; workers are stopped by then."""


class LocalLauncher:
    """Workers on this machine.

    Args:
        python: interpreter for fresh workers and the nursery.
        environ: environment of the nursery.
        nursery: one that has been started already, with that environment.
    """

    def __init__(
        self,
        environ: dict[str, str],
        *,
        python: str = sys.executable,
        nursery: NurseryProcess | None = None,
    ) -> None:
        self._python = python
        self._environ = environ
        self._started = nursery
        self._nursery: NurseryClient | None = None
        self._unshareable: set[str] = set()
        self._starting: asyncio.Lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Start the nursery, which takes a moment, before the first worker is asked for."""
        with contextlib.suppress(ForkNotPossible):  # `launch` will try again, and say so
            await self._get_nursery()

    async def launch(self, spec: WorkerSpec, on_exit: Callable[[int], None]) -> WorkerProcess:
        """Fork the worker if that is safe, else spawn it."""
        if spec.share in self._unshareable:
            spec = replace(spec, share="", load=b"")
        if spec.start != "spawn":
            try:
                return await self._fork(spec, on_exit)
            except ForkNotPossible as error:
                logger.info("%s: starting a fresh process, because %s", spec.label, error)
        return await _spawn(spec.python or self._python, spec, on_exit)

    async def _fork(self, spec: WorkerSpec, on_exit: Callable[[int], None]) -> WorkerProcess:
        """Fork from the loaded model if the worker may share it, else from the nursery."""
        nursery = await self._get_nursery()
        if spec.share:
            try:
                return await nursery.fork(spec, on_exit)
            except ForkNotPossible as error:
                logger.info("%s: not sharing the model, because %s", spec.label, error)
                self._unshareable.add(spec.share)
                spec = replace(spec, share="", load=b"")
        return await nursery.fork(spec, on_exit)

    async def forget(self, share: str) -> None:
        """Have the nursery end the process that holds a shared model."""
        self._unshareable.discard(share)
        if self._nursery is not None and not self._nursery.is_dead:
            await self._nursery.unshare(share)

    async def close(self) -> None:
        """End the nursery."""
        if self._started is not None:  # nobody has asked for it
            self._started.end()
        if self._nursery is not None:
            await self._nursery.close()

    async def _get_nursery(self) -> NurseryClient:
        async with self._starting:
            if self._nursery is not None and self._nursery.is_dead:
                await self._nursery.close()
                self._nursery = None
            if self._nursery is None:
                started, self._started = self._started, None
                if started is not None:
                    self._nursery = NurseryClient(started.process, started.control)
                else:
                    self._nursery = await NurseryClient.start(self._python, self._environ)
            return self._nursery


async def _spawn(python: str, spec: WorkerSpec, on_exit: Callable[[int], None]) -> WorkerProcess:
    pipes = OutputPipes()
    try:
        popen = subprocess.Popen(  # noqa: S603, ASYNC220 - vfork: about a millisecond
            [python, SAFE_PATH, "-m", "tsl.backend", *worker_arguments(spec)],
            env=worker_environ(spec),
            cwd=spec.model_dir,
            stdin=subprocess.DEVNULL,
            stdout=pipes.child_ends[0],
            stderr=pipes.child_ends[1],
        )
    except OSError as error:
        pipes.close()
        msg = f"{spec.label}: {error}"
        raise LaunchError(msg) from error
    pipes.close_child_ends()
    process = WorkerProcess(popen.pid, on_exit)
    await pipes.connect(spec.label, process.tail, is_marked=spec.marks_output)
    pidfd = os.pidfd_open(popen.pid)
    loop = asyncio.get_running_loop()

    def reap() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        process.exited(popen.wait())

    loop.add_reader(pidfd, reap)
    return process
