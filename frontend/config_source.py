"""Which configuration file counts, and what it says: the only part that looks at the disk.

In this order: ``TS_CONFIG_FILE``, the option ``--ts-config``, the newest usable snapshot,
``config.properties`` of the current folder. A file that was asked for must be readable; a snapshot
that was merely found and is damaged is passed over with a warning, so that a server which was
interrupted at a bad moment comes up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import javaproperties

from tsl.model_store import SnapshotFolder
from tsl.model_store.snapshot_folder import FOLDER_NAME
from tsl.protocol.errors import ConfigError

from .config import SETTINGS, ConfigNotes, ServerConfig

CONFIG_FILE_NAME: Final = "config.properties"
CONFIG_FILE_VARIABLE: Final = "TS_CONFIG_FILE"

_ORIGIN_KEY: Final = "tsConfigFile"
_SNAPSHOT_KEY: Final = "model_snapshot"
_LOG_LOCATION: Final = "log_location"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSource:
    """The file that counts.

    Attributes:
        file: where it is; None when there is none.
        text: its content.
        notes: what `ServerConfig.load` is to know about it.
    """

    file: Path | None = None
    text: str | None = None
    notes: ConfigNotes = field(default_factory=ConfigNotes)


def find_config(
    environ: Mapping[str, str],
    option: Path | None,
    working_dir: Path,
    *,
    use_snapshots: bool = True,
) -> ConfigSource:
    """Find and read the configuration file.

    Args:
        environ: environment variables.
        option: the file of ``--ts-config``.
        working_dir: where ``config.properties`` and ``logs`` are looked for.
        use_snapshots: False for ``--ncs``.

    Raises:
        ConfigError: the file cannot be read.
    """
    asked_for = environ.get(CONFIG_FILE_VARIABLE) or option
    if asked_for:
        return _read_asked_for(Path(asked_for), working_dir)
    beside = working_dir / CONFIG_FILE_NAME
    source = _plain(beside) if beside.is_file() else ConfigSource()
    if not use_snapshots:
        return source
    return _from_snapshot(snapshot_folder(environ, source, working_dir), source, working_dir)


def snapshot_folder(
    environ: Mapping[str, str], source: ConfigSource, working_dir: Path
) -> SnapshotFolder:
    """Where snapshots are looked for: ``config`` in the log folder.

    Args:
        environ: environment variables; ``LOG_LOCATION`` counts.
        source: a file that may name another folder.
        working_dir: what a relative folder is relative to.
    """
    stated = _properties(source.text).get(_LOG_LOCATION, "").strip()
    location = environ.get("LOG_LOCATION") or stated or "logs"
    return SnapshotFolder(working_dir / location / FOLDER_NAME)


def read_config_file(file: Path) -> str:
    """Content of a properties file: UTF-8, or Latin-1 as Java's own files.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        msg = f"The configuration file {file} cannot be read: {error.strerror}."
        raise ConfigError(msg) from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _plain(file: Path) -> ConfigSource:
    return ConfigSource(file=file, text=read_config_file(file), notes=ConfigNotes(file=file))


def _read_asked_for(file: Path, working_dir: Path) -> ConfigSource:
    source = _plain(file)
    if _ORIGIN_KEY not in _properties(source.text):
        return source
    # A snapshot that somebody chose. When it is damaged, say which one is not.
    problem = _problem_of(source)
    if problem:
        others = [
            path for path in SnapshotFolder(file.parent).newest_first() if path.name < file.name
        ]
        before = next((path for path in others if not _problem_of(_plain(path))), None)
        advice = (
            f"The one before it can be used: --ts-config {before}"
            if before
            else "There is no usable snapshot before it; start with --ncs and your own file."
        )
        msg = f"The snapshot {file} cannot be used: {problem}"
        raise ConfigError(msg, advice)
    return _as_snapshot(source, working_dir, ())


def _from_snapshot(
    folder: SnapshotFolder, otherwise: ConfigSource, working_dir: Path
) -> ConfigSource:
    """The newest snapshot that can be used, or the source that counts without any."""
    warnings: list[str] = []
    for path in folder.newest_first():
        try:
            source = _plain(path)
            problem = _problem_of(source)
        except ConfigError as error:
            problem = " ".join(error.problems)
        if problem:
            warnings.append(
                f"The snapshot {path} cannot be used, the one before it is tried: {problem}"
            )
            continue
        replaced = f", not {otherwise.file}" if otherwise.file else ""
        warnings.append(
            f"Settings and models are those of the snapshot {path}{replaced}; load_models and "
            "--models are not used. Start with --ncs to leave snapshots aside."
        )
        return _as_snapshot(source, working_dir, tuple(warnings))
    notes = ConfigNotes(file=otherwise.file, warnings=tuple(warnings))
    return ConfigSource(file=otherwise.file, text=otherwise.text, notes=notes)


def _problem_of(source: ConfigSource) -> str:
    """What is wrong with a snapshot; "" when it can be used."""
    try:
        config = ServerConfig.load(source.text, {}, {})
    except ConfigError as error:
        return " ".join(error.problems)
    return "" if config.model_snapshot is not None else "its end is missing."


def _as_snapshot(
    source: ConfigSource, working_dir: Path, warnings: tuple[str, ...]
) -> ConfigSource:
    """A snapshot with the secrets of the file that it was made with."""
    origin = _properties(source.text).get(_ORIGIN_KEY)
    file = working_dir / origin if origin else None
    text = source.text or ""
    if file is not None and file != source.file and file.is_file():
        text += "\n" + _secrets(read_config_file(file))
    notes = ConfigNotes(file=file, snapshot_file=source.file, warnings=warnings)
    return ConfigSource(file=source.file, text=text, notes=notes)


def _secrets(text: str) -> str:
    keys = {declared.key for declared in SETTINGS.values() if declared.secret}
    found = {key: value for key, value in _properties(text).items() if key in keys}
    return javaproperties.dumps(found, timestamp=False)


def _properties(text: str | None) -> dict[str, str]:
    try:
        return dict(javaproperties.loads(text or ""))
    except ValueError:  # a wrong escape: `ServerConfig.load` reports it
        return {}
