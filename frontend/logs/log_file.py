"""A log file: appended to, rotated by size, and opened anew when somebody has moved it.

Whoever rotates logs from outside (logrotate) only has to move the file; the next write goes to a
new one. So no signal is needed, and none is harmful.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 100 * 1024 * 1024
KEPT_FILES: Final = 5


class LogFile:
    """Bytes at the end of a file.

    Args:
        path: the file; its folder is made if there is none.
        max_bytes: before it would grow beyond this it becomes ``NAME.1``; 0 for never.
        kept: how many of those are kept, ``NAME.1`` the newest.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT_FILES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._open()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: who writes here writes many lines at once, and wants to know of an error.
        self._file = self.path.open("ab", buffering=0)
        stat = os.fstat(self._file.fileno())
        self._identity = stat.st_dev, stat.st_ino
        self._size = stat.st_size
        self._rotate_at = self._max_bytes

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            OSError: not all of it could be written; the next call tries anew.
        """
        if self._file.closed or self._was_moved():
            self._file.close()
            self._open()
        if self._max_bytes and self._size and self._size + len(data) > self._rotate_at:
            self._rotate()
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            self._size += written
            rest = rest[written:]

    def close(self) -> None:
        """Close; a later `write` opens it again."""
        self._file.close()

    def _was_moved(self) -> bool:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return True
        return (stat.st_dev, stat.st_ino) != self._identity

    def _rotate(self) -> None:
        """Move everything by one number; where that is not allowed, go on with the same file."""
        try:
            for number in range(self._kept - 1, 0, -1):
                older = self._numbered(number)
                if older.exists():
                    older.replace(self._numbered(number + 1))
            if self._kept:
                self.path.replace(self._numbered(1))
            else:
                self.path.unlink()
        except OSError:
            self._rotate_at = self._size + self._max_bytes
            return
        self._file.close()
        self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
