"""Which server the commands ``stop``, ``status`` and ``token`` speak of."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .pidfile import PidFile

# TorchServe's words: scripts look for them.
NOT_RUNNING: Final = "TorchServe is not currently running."


def pid_file_of(environ: Mapping[str, str]) -> PidFile:
    """The pid file of the working folder that the environment names.

    The same rule as the setting ``work_dir``, without reading a configuration file: a stop must
    work when that file is broken or gone.

    Args:
        environ: environment variables; ``TEMP`` beats ``TMPDIR``.
    """
    folder = environ.get("TEMP") or environ.get("TMPDIR") or tempfile.gettempdir()
    return PidFile(Path(folder))
