"""The fork server's process, and the socket to it, before anybody speaks with it.

Light on purpose, down to its imports: a start makes this process first, and reads its configuration
while the process sets itself up. `nursery_client` is what speaks to it later.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from .child_process import SAFE_PATH, nursery_environ
from .file_limit import raise_file_limit


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
    def begin(cls, environ: Mapping[str, str]) -> NurseryProcess | None:
        """Start it with the server that it is for.

        Args:
            environ: the server's environment.

        Returns:
            None when it cannot be started: the server will try again, and say why.
        """
        raise_file_limit()  # inherited by the workers
        try:
            return cls.start(sys.executable, nursery_environ(environ))
        except OSError:
            return None

    @classmethod
    def start(cls, python: str, environ: dict[str, str]) -> NurseryProcess:
        """Start it.

        Args:
            python: the interpreter.
            environ: its whole environment.

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
