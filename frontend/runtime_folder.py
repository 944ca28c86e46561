"""The folder that one run of the server has for itself, and what killed runs have left.

A server that is killed cannot remove its folder. So each holds a lock (``flock``) on a file in it
for as long as it lives, however it ends, and each start removes the folders of this user whose lock
is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

PREFIX: Final = "tsl-"
LOCK: Final = "lock"


class RuntimeFolder:
    """A fresh folder, mode 0700, in our possession until it is removed.

    Args:
        parent: where to make it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: Path) -> None:
        self.path: Final = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._lock = self._take_lock()

    def _take_lock(self) -> int:
        """The descriptor that holds the lock; -1 where the file system has no locks."""
        # Under another name until it is locked: a lock file that is free is an order to remove.
        draft = self.path / f"{LOCK}.new"
        lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            draft.unlink()
            return -1
        draft.rename(self.path / LOCK)
        return lock

    def remove(self) -> None:
        """Remove it with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove what servers of this user have left that are gone.

    A folder without a lock file is not ours to judge, and stays.

    Args:
        parent: where servers make their folders.

    Returns:
        The removed ones.
    """
    removed = []
    for lock_file in parent.glob(f"{PREFIX}*/{LOCK}"):
        folder = lock_file.parent
        # A folder of somebody else cannot be opened, or is not ours to remove.
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(lock_file, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                removed.append(folder)
            finally:
                os.close(lock)
    if removed:
        names = ", ".join(map(str, removed))
        logger.info("Removed what servers have left that were killed: %s", names)
    return removed
