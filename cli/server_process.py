"""How a server's process is called: its command line, and the pid file that scripts read."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MARKER: Final = "org.pytorch.serve.ModelServer"
"""An element of the server's argument list, and of no other process's.

SageMaker's inference toolkit looks for the one process with it, waits for it and stops it.
"""

_PLAIN_PID_FILE: Final = ".model_server.pid"


def server_command(words: Sequence[str]) -> list[str]:
    """The command line of a server.

    Args:
        words: what stands behind ``tsl``.
    """
    # -P keeps modules of the current folder from taking the place of ours. An -X option that
    # Python does not know has no effect; it only carries the name.
    return [sys.executable, "-P", "-X", MARKER, "-m", "tsl.cli", *words]


class PlainPidFile:
    """TorchServe's pid file: the number alone, for scripts that read it.

    The commands here do not use it (it cannot tell a server from a stranger that has got its
    number), so failing to write it is no failure.

    Args:
        work_dir: the working folder.
    """

    def __init__(self, work_dir: Path) -> None:
        self.path: Final = work_dir / _PLAIN_PID_FILE

    def write(self, pid: int) -> None:
        """Write the number, in place of what a server that crashed has left."""
        draft = self.path.with_name(f"{_PLAIN_PID_FILE}.{pid}")
        # O_EXCL: in a folder that everybody can write, nobody can put a link in our way. The file
        # may belong to another user, who serves, too: then it stays his.
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{pid}\n")
            try:
                draft.replace(self.path)
            except OSError:
                draft.unlink(missing_ok=True)

    def remove(self, pid: int) -> None:
        """Remove the file if it still has this number."""
        with contextlib.suppress(OSError, ValueError):
            if int(self.path.read_text(encoding="ascii")) == pid:
                self.path.unlink(missing_ok=True)
