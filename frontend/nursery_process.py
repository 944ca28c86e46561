"""The fork server's process, and the socket to it, before anybody speaks with it.

Light on purpose: a start makes this process first, and imports the server while torch is imported
there. `nursery_client` is what speaks to it later.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from .worker_command import SAFE_PATH


@dataclass(frozen=True, slots=True)
class NurseryProcess:
    """A fork server that has been started.

    Attributes:
        process: itself.
        control: our end of its control socket; it ends when that is closed.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(
        cls, python: str, environ: dict[str, str], preload: Sequence[str] = ()
    ) -> NurseryProcess:
        """Start it.

        Args:
            python: the interpreter.
            environ: its whole environment.
            preload: modules to import at once, before it is asked for anything.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 - vfork: a millisecond, once
                    [
                        python,
                        SAFE_PATH,
                        "-m",
                        "tsl.backend.nursery",
                        str(theirs.fileno()),
                        *preload,
                    ],
                    env=environ,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(process, ours)

    def end(self) -> None:
        """End it now, whatever it does. Does nothing when it has been ended already."""
        self.control.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
