"""The Unix socket that workers connect to.

One listening socket for all workers, mode 0600 in a directory of mode 0700 that only this server
uses. A worker names itself in its hello and proves with a token that it is the process that was
started under that name; nobody else gets to see a frame.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import secrets
import socket
from pathlib import Path
from typing import Final, Protocol

from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import PROTOCOL_VERSION, Hello, Load

from .busy_loop import BusyLoop
from .loop_turn import LoopTurn
from .runtime_folder import RuntimeFolder, remove_abandoned
from .worker_channel import ChannelOwner, WorkerChannel

logger = logging.getLogger(__name__)

MAX_PATH_BYTES: Final = 107
"""Longest path of a Unix socket on Linux (``sun_path`` less its NUL)."""
_SHORT_PARENT: Final = Path("/tmp")  # noqa: S108  # where the temporary folder's path is too long


class ExpectedWorker(ChannelOwner, Protocol):
    """A worker that was started and is to connect."""

    worker_id: str
    token: str

    def on_greeted(self, channel: WorkerChannel, hello: Hello) -> tuple[Load, int]:
        """The worker connected; answers what it is to load and the limit for its frames."""


class WorkerListener:
    """Accepts workers' connections.

    Args:
        parent: directory for the runtime directory, usually the temporary one.
        turn: of the event loop.
        busy_loop: keeps the event loop awake for workers that are about to answer.
    """

    def __init__(self, parent: Path, turn: LoopTurn, busy_loop: BusyLoop) -> None:
        self._parent = parent
        self._turn = turn
        self._busy_loop = busy_loop
        self._folder: RuntimeFolder | None = None
        self._server: asyncio.Server | None = None
        self._expected: dict[str, ExpectedWorker] = {}

    @property
    def path(self) -> str:
        """Where workers connect to; valid after `open`."""
        assert self._folder is not None
        return str(self._folder.path / "workers.sock")

    async def open(self) -> None:
        """Create the runtime directory and listen in it.

        Raises:
            OSError: the directory cannot be written.
        """
        remove_abandoned(self._parent)
        self._folder = RuntimeFolder(self._parent)
        if len(os.fsencode(self.path)) > MAX_PATH_BYTES:
            self._folder.remove()
            remove_abandoned(_SHORT_PARENT)
            self._folder = RuntimeFolder(_SHORT_PARENT)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old_mask = os.umask(0o177)
        try:
            listening.bind(self.path)
        finally:
            os.umask(old_mask)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: WorkerChannel(self._claim, self._turn, self._busy_loop),
            sock=listening,
            backlog=512,
        )

    async def close(self) -> None:
        """Stop listening and remove the directory."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def expect(self, worker: ExpectedWorker) -> None:
        """Let this worker connect once."""
        self._expected[worker.worker_id] = worker

    def forget(self, worker: ExpectedWorker) -> None:
        """It is not going to connect any more."""
        self._expected.pop(worker.worker_id, None)

    def _claim(self, channel: WorkerChannel, hello: Hello) -> tuple[ChannelOwner, Load, int]:
        if hello.version != PROTOCOL_VERSION:
            msg = f"worker speaks protocol {hello.version}, this server {PROTOCOL_VERSION}"
            raise ProtocolError(msg)
        worker = self._expected.get(hello.worker_id)
        if worker is None or not hmac.compare_digest(worker.token.encode(), hello.token.encode()):
            raise ProtocolError("a connection from somebody who is not an expected worker")
        del self._expected[hello.worker_id]
        load, max_body_bytes = worker.on_greeted(channel, hello)
        return worker, load, max_body_bytes


def new_token() -> str:
    """A secret of 128 bits for one worker."""
    return secrets.token_hex(16)
