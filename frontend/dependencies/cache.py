"""Folders with installed packages, by what is in them: built once, then shared and never changed.

Theory of operation. A folder is built at its final place, because the scripts of a virtual
environment name that place; it counts only when a mark is in it, which is written last. Whoever
builds holds the exclusive lock (``flock``) of the folder's lock file, whoever uses it the shared
one; the installer inherits the lock, so that a folder is not touched while an installer that has
lost its server still writes into it. Locks end with the processes that hold them.

A folder is used by its number of files: cleaners of temporary folders take old files away and
leave the mark, which is touched at each use.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

MARK: Final = "tsl-environment.json"
UNUSED_AFTER_S: Final = 30 * 24 * 3600
"""A folder that nobody has used for so long is removed."""
POLL_S: Final = 0.1
"""How often to look whether another process has released a lock."""


class CachedFolder:
    """A place in the cache, and our lock of it.

    Args:
        path: where the folder is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    @property
    def lock(self) -> int:
        """Descriptor that holds the lock; -1 without."""
        return self._lock

    async def lock_shared(self) -> None:
        """Wait until nobody builds it, and keep it from being removed."""
        await self._acquire(fcntl.LOCK_SH)

    async def lock_exclusive(self) -> None:
        """Wait until nobody uses it, and keep others from it."""
        await self._acquire(fcntl.LOCK_EX)

    async def _acquire(self, kind: int) -> None:
        if self._lock < 0:
            self._lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        while not _try_lock(self._lock, kind):  # noqa: ASYNC110 - nobody tells us about flocks
            await asyncio.sleep(POLL_S)

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def is_complete(self) -> bool:
        """Whether it was built to the end, and all of it is still there. Touches the mark."""
        mark = self.path / MARK
        try:
            expected = json.loads(mark.read_text(encoding="utf-8"))["files"]
            os.utime(mark)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return isinstance(expected, int) and sum(1 for _ in _files(self.path)) >= expected

    def begin(self) -> None:
        """Make an empty folder; what an earlier attempt left is removed."""
        self.discard()
        self.path.mkdir(mode=0o700)

    def complete(self, about: Mapping[str, object]) -> None:
        """Mark it as built.

        Args:
            about: what to note for people who look at it.
        """
        document = {**about, "files": sum(1 for _ in _files(self.path))}
        temporary = self.path / f"{MARK}.new"
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.rename(self.path / MARK)

    def discard(self) -> None:
        """Remove the folder."""
        with contextlib.suppress(FileNotFoundError):
            # The mark first: what is half removed must not count either.
            (self.path / MARK).unlink()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_unused(root: Path) -> None:
    """Remove folders that nobody uses and nobody has used for long."""
    for mark in root.glob(f"*/{MARK}"):
        with contextlib.suppress(OSError):
            if time.time() - mark.stat().st_mtime < UNUSED_AFTER_S:
                continue
            folder = CachedFolder(mark.parent)
            lock = os.open(folder.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if _try_lock(lock, fcntl.LOCK_EX):
                    logger.info("Removing packages that were not used for long: %s", folder.path)
                    folder.discard()
            finally:
                os.close(lock)


def _try_lock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _files(folder: Path) -> Iterator[str]:
    """Installed files: not the mark, and nothing that Python writes by itself later."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.endswith(".pyc") and not (parent == str(folder) and name.startswith(MARK)):
                yield name
