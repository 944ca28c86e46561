"""What zip and tar have in common: safe names, limits, and writing into a fresh folder.

Nothing here knows an archive format; `zip_archive` and `tar_archive` do. The folder that is
written to must be new and private: then no link can be there that we did not make, and we make
none. Whoever created it also removes it when unpacking fails.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsl.protocol.errors import InvalidArchive, ServiceUnavailable

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in total, once per chunk."""

CHUNK_BYTES: Final = 1024 * 1024

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_BAD_NAME_ERRNOS: Final = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
_NO_SPACE_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionLimits:
    """How much an archive may unpack to.

    Attributes:
        max_total_bytes: size of all files together. The weights of a 70-billion-parameter
            model take 140 GB in half precision; nothing that fits one host is much larger.
        max_entries: files and folders. A packed Python environment has some 50 000.
        max_ratio: unpacked size over archive size. Weights compress by 1.1 to 2, sparse ones
            by ten or twenty; deflate reaches 1 032 on zeros, which is what bombs are made of.
        ratio_floor_bytes: below this unpacked size any ratio will do, so that small files of
            zeros or repeated text pass.
    """

    max_total_bytes: int = 256 * 1024**3
    max_entries: int = 200_000
    max_ratio: int = 200
    ratio_floor_bytes: int = 1024**3


class Budget:
    """Counts what an archive has unpacked to so far, and refuses what is too much.

    Args:
        limits: what is allowed.
        archive_bytes: size of the archive file.
    """

    def __init__(self, limits: ExtractionLimits, archive_bytes: int) -> None:
        self._limits = limits
        self._max_by_ratio = max(limits.ratio_floor_bytes, limits.max_ratio * archive_bytes)
        self._entries = 0
        self.spent_bytes = 0

    def check_bytes(self, total: int) -> None:
        """Refuse an archive that unpacks to this many bytes, if that is too much.

        Raises:
            InvalidArchive: one of the limits is exceeded.
        """
        if total > self._limits.max_total_bytes:
            msg = f"The archive unpacks to more than {self._limits.max_total_bytes} bytes."
            raise InvalidArchive(msg)
        if total > self._max_by_ratio:
            msg = (
                f"The archive unpacks to more than {self._limits.max_ratio} times its size,"
                " as archives do that are made to fill a disk."
            )
            raise InvalidArchive(msg, hint="Serve the unpacked folder if it is meant to be so.")

    def spend_bytes(self, count: int) -> None:
        """Count unpacked bytes.

        Raises:
            InvalidArchive: that was too much.
        """
        self.spent_bytes += count
        self.check_bytes(self.spent_bytes)

    def spend_entry(self) -> None:
        """Count one file or folder.

        Raises:
            InvalidArchive: that was one too many.
        """
        self._entries += 1
        if self._entries > self._limits.max_entries:
            msg = f"The archive has more than {self._limits.max_entries} files and folders."
            raise InvalidArchive(msg)


def safe_parts(name: str) -> tuple[str, ...]:
    """Split an entry's name into path components that stay inside the target.

    Args:
        name: the name as it stands in the archive.

    Returns:
        The components, without empty ones and ``.``; none at all for the top folder itself.

    Raises:
        InvalidArchive: the name is absolute, climbs out, or is none that this system has.
    """
    if not name or name.startswith("/") or "\\" in name or "\0" in name or _DRIVE.match(name):
        msg = f"The archive has an entry with a name that is not allowed: {name!r}."
        raise InvalidArchive(msg)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        msg = f"The archive has an entry that would be written outside of the model: {name!r}."
        raise InvalidArchive(msg)
    return parts


class Destination:
    """A fresh folder that entries are written into, each checked against those before it.

    Args:
        root: an empty folder that nobody else writes to.
        budget: where files and folders are counted; bytes are counted by whoever reads them.
    """

    def __init__(self, root: Path, budget: Budget) -> None:
        self._root = root
        self._budget = budget
        self._folders: set[tuple[str, ...]] = {()}
        self._files: set[tuple[str, ...]] = set()

    @property
    def is_empty(self) -> bool:
        """Whether no file has been written."""
        return not self._files

    def add_folder(self, parts: tuple[str, ...]) -> None:
        """Create a folder and those above it; it may exist already.

        Raises:
            InvalidArchive: a file has its name.
        """
        for length in range(1, len(parts) + 1):
            folder = parts[:length]
            if folder in self._folders:
                continue
            if folder in self._files:
                msg = f"The archive has a file and a folder of the same name: {'/'.join(folder)!r}."
                raise InvalidArchive(msg)
            self._budget.spend_entry()
            path = self._root.joinpath(*folder)
            path.mkdir()
            path.chmod(0o755)
            self._folders.add(folder)

    def add_file(
        self, parts: tuple[str, ...], chunks: Iterable[bytes], *, is_executable: bool
    ) -> None:
        """Write a file; of two with the same name, the later one stays, as with tar and unzip.

        Raises:
            InvalidArchive: a folder has its name, or it has none.
        """
        if parts in self._folders:
            msg = f"The archive has a file with the name of a folder: {'/'.join(parts)!r}."
            raise InvalidArchive(msg)
        self.add_folder(parts[:-1])
        self._budget.spend_entry()
        self._files.add(parts)
        # No set-user-id, no sticky bit, nothing that others may write.
        mode = 0o755 if is_executable else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self._root.joinpath(*parts), flags, mode), "wb") as file:  # noqa: PTH123
            os.fchmod(file.fileno(), mode)
            for chunk in chunks:
                file.write(chunk)


@contextmanager
def archive_errors(kind: str, *corrupt: type[Exception]) -> Iterator[None]:
    """Turn what the standard library raises for a bad archive into `InvalidArchive`.

    Args:
        kind: name of the format, for the message.
        corrupt: classes that the format's module raises for a file it cannot read.

    Raises:
        InvalidArchive: instead of any of those.
        ServiceUnavailable: the disk is full.
    """
    try:
        yield
    except corrupt as error:
        msg = f"The {kind} archive is damaged: {error}."
        raise InvalidArchive(msg) from error
    except OSError as error:
        if error.errno in _NO_SPACE_ERRNOS:
            msg = "There is not enough disk space to unpack the archive."
            raise ServiceUnavailable(msg) from error
        if error.errno in _BAD_NAME_ERRNOS:
            msg = "The archive has an entry with a name that this system cannot store."
            raise InvalidArchive(msg) from error
        if error.errno is None:  # raised by a decompressor, not by the system
            msg = f"The {kind} archive is damaged: {error}."
            raise InvalidArchive(msg) from error
        raise
