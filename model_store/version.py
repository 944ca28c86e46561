"""One version of a model, ready to be served: the result of `ModelStore.resolve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .archive import ModelFolder
from .config import ModelConfig
from .download import Download
from .manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelVersion:
    """Everything that is known about a model version before a worker runs it.

    Attributes:
        name: what it is registered under.
        version: its version; any text.
        handler: entry point for the workers.
        runtime: ``python`` or ``python3``.
        model_dir: folder with its files; absolute, without symbolic links. Versions with the
            same content share it.
        url: where it came from, as list and describe show it.
        manifest: the archive's manifest; its name may be another one.
        config: the merged settings.
        loaded_at_startup: the operator named it at the start of the server.
        workflow: the workflow that it is a node of; "" for a model of its own.
        is_function: it is a function of a workflow's handler file, and not a model that lists show.
        folder: hold on ``model_dir``; the store's business.
        download: the file that was fetched for it, if it came from a URL.
    """

    name: str
    version: str
    handler: str
    runtime: str
    model_dir: Path
    url: str
    manifest: Manifest
    config: ModelConfig
    loaded_at_startup: bool
    workflow: str = ""
    is_function: bool = False
    folder: ModelFolder = field(repr=False)
    download: Download | None = field(default=None, repr=False)

    @property
    def archive_name(self) -> str:
        """Name of the archive file or folder in the model store; a location outside of it."""
        return self.url if self.download is None else self.download.path.name
