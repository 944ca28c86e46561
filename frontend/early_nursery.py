"""What a start does first: have the fork server import torch while the server imports itself.

Importing torch is by far the longest step of a start, and nothing else has to wait for it. So its
process is made as soon as the configuration is known; what it is to import is guessed from the
archives, before they are unpacked. A wrong guess costs time or memory, never correctness.
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
from .preload import expected_modules
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
    modules = likely_modules(config, environ)
    try:
        return NurseryProcess.start(sys.executable, nursery_environ(config, environ), modules)
    except OSError:
        return None


def has_models(config: ServerConfig) -> bool:
    """Whether workers will be wanted at once.

    Args:
        config: the configuration.
    """
    models = config.load_models
    return models.all_in_store or bool(models.listed) or config.model_snapshot is not None


def likely_modules(config: ServerConfig, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What the models of this start look as if their workers had to import, as torch.

    Args:
        config: the configuration.
        environ: the server's environment.

    Returns:
        Names of modules, sorted.
    """
    if has_accelerators(environ, config.number_of_gpu):
        return ()  # drivers do not survive a fork: those workers are fresh processes
    looked_at = islice(_archives(config), MAX_LOOKED_AT)
    return tuple(sorted(frozenset().union(*map(expected_modules, looked_at))))


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
