"""What a start does first: have the fork server import torch while the server imports itself.

Importing torch is by far the longest step of a start, and nothing else has to wait for it. So its
process is made as soon as the configuration is known; whether torch is wanted is guessed from the
archives, unopened as they are. A wrong guess costs time or memory, never correctness.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from .config import ServerConfig
from .devices import has_accelerators
from .file_limit import raise_file_limit
from .nursery_process import NurseryProcess
from .preload import expects_torch
from .worker_command import nursery_environ

MAX_LOOKED_AT: Final = 32
"""A store may have thousands of models; the first ones say what kind of store it is."""


def start_early(config: ServerConfig, environ: Mapping[str, str]) -> NurseryProcess | None:
    """Start the fork server if this start is going to need it.

    Args:
        config: the configuration.
        environ: the server's environment.

    Returns:
        The process, to be given to `tsl.frontend.server.run` and ended by whoever started it if
        the server does not come to that; None when no workers are to be forked at once, or when
        it cannot be started (the server will try again, and say why).
    """
    if not has_models(config) or config.worker_start == "spawn":
        return None
    raise_file_limit()  # inherited by the workers
    wanted = ("torch",) if is_torch_likely(config, environ) else ()
    try:
        return NurseryProcess.start(sys.executable, nursery_environ(config, environ), wanted)
    except OSError:
        return None


def has_models(config: ServerConfig) -> bool:
    """Whether workers will be wanted at once.

    Args:
        config: the configuration.
    """
    models = config.load_models
    return models.all_in_store or bool(models.listed) or config.model_snapshot is not None


def is_torch_likely(config: ServerConfig, environ: Mapping[str, str]) -> bool:
    """Whether a model of this start looks as if torch has to be imported for its workers.

    Args:
        config: the configuration.
        environ: the server's environment.
    """
    if has_accelerators(environ, config.number_of_gpu):
        return False  # drivers do not survive a fork: those workers are fresh processes
    return any(expects_torch(path) for path in islice(_archives(config), MAX_LOOKED_AT))


def _archives(config: ServerConfig) -> Iterator[Path]:
    """What is to be loaded and lies in the model store."""
    root, models = config.model_store, config.load_models
    if root is None:
        return
    if config.model_snapshot is not None:
        entries = config.model_snapshot.entries
        names = [entry.archive for entry in entries if entry.settings.get("min_workers") != 0]
    elif models.all_in_store:
        names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    else:
        names = [Path(location).name for _, location in models.listed]
    yield from (root / name for name in names if name)
