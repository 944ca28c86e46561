"""Write down what is served, so that the next start can go on with it.

The recorder looks at the registry on the event loop, where nothing changes meanwhile, and writes in
a thread. Changes that come while a snapshot is written share the next one; each waits until a
snapshot that holds it is on disk. A snapshot that cannot be written costs a line in the log, never
a request.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Iterable
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final, Protocol

import javaproperties

from tsl.model_store import Snapshot, SnapshotEntry, SnapshotFolder, SnapshotKind
from tsl.model_store.snapshot_folder import FOLDER_NAME

from .config import SETTINGS, ServerConfig
from .registry import ModelRegistry, ServedModel

logger = logging.getLogger(__name__)

_SNAPSHOT_KEY: Final = "model_snapshot"


class Recorder(Protocol):
    """What `ModelManager` tells about its changes."""

    async def changed(self) -> None:
        """Something is served in another way; returns when that is on disk, or cannot be."""

    async def undone(self) -> None:
        """A registration has failed: no snapshot may go on naming it."""


class NoRecorder:
    """For a server without snapshots (``--ncs``)."""

    async def changed(self) -> None:
        """Nothing is written."""

    async def undone(self) -> None:
        """Nothing was written."""


class SnapshotRecorder:
    """Snapshots of one server.

    Args:
        config: the server's configuration.
        registry: what is served.
    """

    def __init__(self, config: ServerConfig, registry: ModelRegistry) -> None:
        self._config = config
        self._registry = registry
        self._folder = SnapshotFolder(config.log_location / FOLDER_NAME)
        self._absent: tuple[SnapshotEntry, ...] = ()
        self._last: Snapshot | None = None
        self._changes = 0
        self._written = 0
        self._lock = asyncio.Lock()

    def keep(self, entries: Iterable[SnapshotEntry]) -> None:
        """Models that could not be restored: later snapshots have them all the same.

        Otherwise an archive that cannot be read once, for a moment, would be forgotten.
        """
        self._absent = tuple(entries)

    async def changed(self) -> None:
        """A model was registered, scaled, unregistered, or made the default."""
        await self.record(SnapshotKind.SNAPSHOT)

    async def undone(self) -> None:
        """A registration has failed; another change may have written it down meanwhile."""
        if self._last is not None and self.snapshot() != self._last:
            await self.record(SnapshotKind.SNAPSHOT)

    async def record(self, kind: SnapshotKind) -> None:
        """Write a snapshot of this moment."""
        self._changes += 1
        change = self._changes
        async with self._lock:
            if self._written >= change:
                return  # one that began after this change is on disk
            self._written = self._changes
            self._last = snapshot = self.snapshot()
            await asyncio.to_thread(self._write, kind, snapshot)

    def snapshot(self) -> Snapshot:
        """What is served now. Nodes of workflows are left out: their workflow brings them."""
        defaults = set(map(id, self._registry.defaults()))
        served = [
            self._entry(one, is_default=id(one) in defaults)
            for one in list(self._registry)
            if not one.version.workflow
        ]
        present = {(entry.name, entry.version) for entry in served}
        absent = [one for one in self._absent if (one.name, one.version) not in present]
        return Snapshot((*served, *absent))

    def _entry(self, served: ServedModel, *, is_default: bool) -> SnapshotEntry:
        version, pool = served.version, served.pool
        config, archive = version.config, version.archive_name
        named = {version.manifest.handler, self._config.default_service_handler}
        return SnapshotEntry(
            name=version.name,
            version=version.version,
            archive=Path(archive).name,
            is_default=is_default,
            settings={
                "min_workers": pool.min_workers,
                "max_workers": pool.max_workers,
                "batch_size": config.batch_size,
                "max_batch_delay_ms": config.max_batch_delay_ms,
                "response_timeout_s": config.response_timeout_s,
                "startup_timeout_s": config.startup_timeout_s,
                **(
                    {} if config.batch_policy == "window" else {"batch_policy": config.batch_policy}
                ),
            },
            runtime=version.runtime,
            handler=None if version.handler in named else version.handler,
            url=None if version.url == archive and "/" not in archive else version.url,
            parallel_level=config.parallel_level,
        )

    def _write(self, kind: SnapshotKind, snapshot: Snapshot) -> None:
        try:
            name = self._folder.next_name(kind, datetime.datetime.now())
            document = snapshot.document(name, time.time_ns() // 1_000_000)
            self._folder.write(name, render(self._config, document))
            in_use = self._config.snapshot_file or self._config.file
            self._folder.prune(self._config.max_snapshots, in_use)
        except OSError as error:
            logger.warning(
                "No snapshot is written to %s: %s. After a restart, the models are those of the "
                "last one.",
                self._folder.path,
                error.strerror,
            )


def render(config: ServerConfig, document: str) -> str:
    """The text of a snapshot file.

    It has every setting that is not at its default, but no secret: those stay in the file that
    ``tsConfigFile`` names, and are read from there. The document comes last: a file that lost its
    end has none, and so is seen to be damaged.

    Args:
        config: the server's configuration.
        document: what `Snapshot.document` made.
    """
    may_be_written = {s.key for s in SETTINGS.values() if s.in_file and not s.secret}
    lines = {
        key: text
        for key, text in sorted(config.texts.items())
        if key in may_be_written and key != _SNAPSHOT_KEY
    }
    if config.file is not None:
        lines["tsConfigFile"] = str(config.file.absolute())
    lines["version"] = version_of("tsl")
    return javaproperties.dumps(
        {**lines, _SNAPSHOT_KEY: document}, comments="A snapshot of what was served"
    )
