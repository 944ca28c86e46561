"""What the fork server is told as soon as the configuration is known: import torch, or end.

Importing torch is by far the longest step of a start, and nothing else has to wait for it. So it is
imported while the server imports itself; whether it is wanted is guessed from the archives, before
they are unpacked. A wrong guess costs time or memory, never correctness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from tsl.protocol.codec import encode
from tsl.protocol.frames import Preload

from .config import ServerConfig
from .devices import has_accelerators
from .nursery_process import NurseryProcess
from .preload import expected_modules
from .worker_command import output_marks

MAX_LOOKED_AT: Final = 32
"""A store may have thousands of models; the first ones say what kind of store it is."""


def prepare(nursery: NurseryProcess, config: ServerConfig, environ: Mapping[str, str]) -> bool:
    """Tell a fork server that has just been started what this start is going to need of it.

    Args:
        nursery: that one; nobody has spoken with it yet.
        config: the configuration.
        environ: the server's environment.

    Returns:
        Whether it is of use; False when no workers are to be forked at once, or when it is gone. It
        has been ended then, and the server will start another one if it needs one after all.
    """
    if has_models(config) and config.worker_start != "spawn":
        marks = [text for pair in output_marks(config).items() for text in pair]
        order = Preload(list(likely_modules(config, environ)), marks)
        try:
            nursery.control.sendall(b"".join(encode(order)))
        except OSError:
            pass
        else:
            return True
    nursery.end()
    return False


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
