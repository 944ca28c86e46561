"""What a snapshot says: the models that were served, and with which settings.

A snapshot is a properties file whose entry ``model_snapshot`` holds the JSON document that is read
and written here; the other entries are the server's settings. The document is TorchServe's, and
people write it by hand, too (KServe does): whatever an entry leaves out is decided as at any start.
Three keys are ours, and other readers pass over them: ``handler`` for one that was given at the
registration, ``modelUrl`` for an archive that did not come from the model store, ``batchPolicy``.

Pure values; `snapshot_folder` knows the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from .config import BATCH_POLICIES
from .manifest import RUNTIMES

# Key of the document → attribute of `ModelConfig`, and the least value that makes sense.
_SETTINGS: Final[Mapping[str, tuple[str, int]]] = {
    "minWorkers": ("min_workers", 0),
    "maxWorkers": ("max_workers", 0),
    "batchSize": ("batch_size", 1),
    "maxBatchDelay": ("max_batch_delay_ms", 0),
    "responseTimeout": ("response_timeout_s", 1),
    "startupTimeout": ("startup_timeout_s", 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotEntry:
    """One model version of a snapshot.

    Attributes:
        name: what it is registered under.
        version: its version when the snapshot was made.
        archive: name of the archive in the model store.
        is_default: whether requests without a version go to it.
        settings: values by the name of `ModelConfig`'s attribute; only what the entry states.
        runtime: ``python`` or ``python3``; None: the archive decides.
        handler: a handler that was given at the registration; None: the archive decides.
        url: where the archive came from, if not from the model store.
        parallel_level: devices per worker; written for readers, the archive decides.
    """

    name: str
    version: str
    archive: str
    is_default: bool = False
    settings: Mapping[str, int | str] = field(default_factory=dict)
    runtime: str | None = None
    handler: str | None = None
    url: str | None = None
    parallel_level: int = 0

    @property
    def location(self) -> str:
        """What to register."""
        return self.url or self.archive

    def document(self) -> dict[str, Any]:
        """The entry as JSON."""
        stated = {
            key: self.settings[attribute]
            for key, (attribute, _) in _SETTINGS.items()
            if attribute in self.settings
        }
        more = {
            "batchPolicy": self.settings.get("batch_policy"),
            "runtimeType": self.runtime,
            "parallelLevel": self.parallel_level or None,
            "handler": self.handler,
            "modelUrl": self.url,
        }
        return {
            "defaultVersion": self.is_default,
            "marName": self.archive,
            **stated,
            **{key: value for key, value in more.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The models of a snapshot, in the order in which they were registered."""

    entries: tuple[SnapshotEntry, ...] = ()

    def document(self, name: str, created_ms: int) -> str:
        """The JSON document.

        Args:
            name: name of the file it will be in.
            created_ms: the moment, in milliseconds since 1970.
        """
        models: dict[str, dict[str, Any]] = {}
        for entry in self.entries:
            models.setdefault(entry.name, {})[entry.version] = entry.document()
        document = {
            "name": name,
            "modelCount": len(models),
            "created": created_ms,
            "models": models,
        }
        return json.dumps(document, indent=2, ensure_ascii=False)


def parse_snapshot(document: Mapping[str, Any]) -> Snapshot:
    """Read the JSON document.

    Raises:
        ValueError: it is no snapshot; the text names everything that is wrong.
    """
    models = document.get("models")
    if not isinstance(models, dict):
        msg = "a snapshot needs an object models"
        raise ValueError(msg)  # noqa: TRY004  (the complaint is about a text somebody wrote)
    problems: list[str] = []
    entries = [
        entry
        for name, versions in models.items()
        for entry in _entries(name, versions, problems.append)
    ]
    if problems:
        raise ValueError("; ".join(problems))
    return Snapshot(tuple(entries))


def _entries(name: str, versions: Any, problem: Callable[[str], None]) -> Iterable[SnapshotEntry]:
    if not isinstance(versions, dict):
        problem(f"{name!r} must hold an object that maps versions to settings")
        return
    for version, stated in versions.items():
        label = f"{name} {version}"
        if isinstance(stated, dict):
            yield _entry(name, version, stated, partial(_labelled, problem, label))
        else:
            problem(f"{label} must hold an object with settings")


def _labelled(problem: Callable[[str], None], label: str, text: str) -> None:
    problem(f"{label}: {text}")


def _entry(
    name: str, version: str, stated: Mapping[str, Any], problem: Callable[[str], None]
) -> SnapshotEntry:
    archive = stated.get("marName")
    if not isinstance(archive, str) or not archive:
        problem("marName, the archive's file name, is missing")
        archive = ""
    settings: dict[str, int] = {}
    chosen: dict[str, str] = {}
    for key, (attribute, least) in _SETTINGS.items():
        value = stated.get(key)
        if value is None:
            continue
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            settings[attribute] = value
        else:
            problem(f"{key} must be a whole number from {least} up, not {value!r:.40}")
    least_max = settings.get("min_workers")
    if least_max is not None:
        settings["max_workers"] = max(least_max, settings.get("max_workers", 0))
    policy = stated.get("batchPolicy")
    if policy in BATCH_POLICIES:
        chosen["batch_policy"] = policy
    elif policy is not None:
        problem(f"batchPolicy must be one of {', '.join(BATCH_POLICIES)}, not {policy!r:.40}")
    runtime = stated.get("runtimeType")
    if runtime is not None and runtime not in RUNTIMES:
        problem(f"runtimeType must be one of {', '.join(RUNTIMES)}, not {runtime!r:.40}")
    level = stated.get("parallelLevel")
    return SnapshotEntry(
        name=name,
        version=version,
        archive=archive,
        is_default=stated.get("defaultVersion") is True,
        settings={**settings, **chosen},
        runtime=runtime,
        handler=_optional_text("handler", stated, problem),
        url=_optional_text("modelUrl", stated, problem),
        parallel_level=level if isinstance(level, int) else 0,
    )


def _optional_text(
    key: str, stated: Mapping[str, Any], problem: Callable[[str], None]
) -> str | None:
    value = stated.get(key)
    if value is None or isinstance(value, str):
        return value or None
    problem(f"{key} must be a text, not {value!r:.40}")
    return None
