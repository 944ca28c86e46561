"""The files of snapshots: their names, their order, and writing them so that none is ever half.

Nothing here looks into a snapshot. Files with other names are left alone.
"""

from __future__ import annotations

import datetime
import os
import re
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Final

FOLDER_NAME: Final = "config"
"""The folder of the snapshots, inside of the log folder."""

_NAME: Final = re.compile(r"(\d{17})-(startup|snapshot|shutdown)\.cfg")
_DIGITS: Final = "%Y%m%d%H%M%S%f"
_MILLISECOND: Final = datetime.timedelta(milliseconds=1)


class SnapshotKind(StrEnum):
    """The occasion of a snapshot."""

    STARTUP = "startup"
    SNAPSHOT = "snapshot"
    SHUTDOWN = "shutdown"


class SnapshotFolder:
    """The snapshots of one server, the newest by name.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def newest_first(self) -> list[Path]:
        """All snapshots; none when there is no readable folder."""
        try:
            found = [path for path in self.path.iterdir() if _moment_of(path.name)]
        except OSError:
            return []
        return sorted(found, reverse=True)

    def next_name(self, kind: SnapshotKind, now: datetime.datetime) -> str:
        """A name that sorts behind all others, even when the clock was set back.

        Args:
            kind: the occasion.
            now: local time, as TorchServe has it in these names.
        """
        for newest in self.newest_first()[:1]:
            now = max(now, (_moment_of(newest.name) or now) + _MILLISECOND)
        return f"{now.strftime(_DIGITS)[:17]}-{kind}.cfg"

    def write(self, name: str, text: str) -> Path:
        """Write a snapshot for this user's eyes; it has its name once it is whole and on disk.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=".writing-", dir=self.path)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            return Path(draft).rename(self.path / name)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def prune(self, keep: int, in_use: Path | None = None) -> None:
        """Remove the oldest snapshots.

        Args:
            keep: how many stay.
            in_use: a file that stays in any case: the server was started with it.
        """
        for path in self.newest_first()[keep:]:
            if in_use is None or not in_use.exists() or not path.samefile(in_use):
                path.unlink(missing_ok=True)


def _moment_of(name: str) -> datetime.datetime | None:
    """Local time of a snapshot; None when it is no snapshot's name."""
    match = _NAME.fullmatch(name)
    try:
        return datetime.datetime.strptime(match[1], _DIGITS) if match else None
    except ValueError:  # digits that are no date
        return None
