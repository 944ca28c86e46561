"""Turn a model archive or folder into a folder that workers can be started in.

Archives are unpacked into a cache, keyed by their content: registering the same bytes again,
under whatever name, uses the folder that is there. Two consequences to know about: a handler
that writes into its working directory writes for all versions with equal content, and a folder
of an earlier run of the server is used as it was left. Plain folders are served in place.

Theory of operation. A cache entry is complete the moment it exists, because it is unpacked
under another name and renamed. Whoever uses an entry holds a shared lock (``flock``) on the
folder itself, and it is removed under an exclusive lock; so processes and threads that share a
cache need no other agreement, and a process that dies leaves nothing locked. A lock is worth
something only while the folder still has its name: that is checked after locking.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from tsl.protocol.errors import ConfigError, InvalidArchive

from .tar_archive import unpack_tar_gz
from .unpacking import CHUNK_BYTES, ExtractionLimits, Progress
from .zip_archive import unpack_zip

StageProgress = Callable[[str, int, int], None]
"""Called with the name of the stage, the bytes done and the bytes in total."""

FORMAT_VERSION: Final = 1
"""Part of every key: a change in how archives are unpacked must not meet old folders."""

_UNPACKING_PREFIX: Final = ".unpacking-"
_REMOVED_PREFIX: Final = ".removed-"
_LEFTOVER_AGE_S: Final = 60
"""A temporary folder this old and not locked was left by a process that died."""

_ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC: Final = b"\x1f\x8b"

_log: Final = logging.getLogger(__name__)


class ArchiveKind(StrEnum):
    """The formats of archive files."""

    ZIP = "zip"
    TAR_GZ = "tar.gz"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with an unpacked model, held for as long as workers may use it.

    Attributes:
        path: the folder; absolute, without symbolic links.
        lock: descriptor of the shared lock on a folder of the cache; None for one in place.
    """

    path: Path
    lock: int | None = None


class ArchiveCache:
    """Unpacked archives, by content.

    All methods block and may be called from any thread.

    Args:
        folder: where the unpacked archives are; created if need be, for this user only.
        limits: how much one archive may unpack to.

    Raises:
        ConfigError: the folder cannot be used.
    """

    def __init__(self, folder: Path, limits: ExtractionLimits | None = None) -> None:
        self._limits = limits or ExtractionLimits()
        self._folder = _private_folder(folder)
        self._remove_leftovers()

    def open(self, path: Path, on_progress: StageProgress | None = None) -> ModelFolder:
        """Make a model's files available; give the result to `release` in the end.

        Args:
            path: a zip or tar.gz file, or a folder.
            on_progress: told about the stages ``checking`` and ``unpacking``.

        Raises:
            InvalidArchive: the archive is damaged, too large, or not a plain tree of files.
            ServiceUnavailable: the disk is full.
        """
        if path.is_dir():
            return ModelFolder(_descend(path.resolve()))
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            kind = recognise(file, path.name)
            target = self._folder / _content_key(file, kind, before.st_size, on_progress)
            while (lock := _lock_shared(target)) is None:
                self._unpack(file, kind, target, on_progress)
            after = os.fstat(file.fileno())
        folder = ModelFolder(target, lock)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self.release(folder)
            msg = f"The archive {path.name!r} was changed while it was read."
            raise InvalidArchive(msg, hint="Register it again when it is complete.")
        return folder

    def release(self, folder: ModelFolder) -> None:
        """Give a folder up; it is removed from the disk when nobody else holds it.

        Call it once for each `open`, when no worker runs in the folder any more.
        """
        if folder.lock is None:
            return
        os.close(folder.lock)
        removed = self._take_away(folder.path)
        if removed is not None:
            shutil.rmtree(removed, ignore_errors=True)

    def _unpack(
        self, file: BinaryIO, kind: ArchiveKind, target: Path, on_progress: StageProgress | None
    ) -> None:
        """Unpack beside the target, then rename; that somebody else was faster is fine."""
        temporary = Path(tempfile.mkdtemp(prefix=_UNPACKING_PREFIX, dir=self._folder))
        lock = _lock_shared(temporary)  # keeps `_remove_leftovers` of others away
        unpack = unpack_zip if kind is ArchiveKind.ZIP else unpack_tar_gz
        try:
            file.seek(0)
            unpack(file, temporary, self._limits, stage(on_progress, "unpacking"))
            temporary.chmod(0o755)
            temporary.rename(target)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        finally:
            if lock is not None:
                os.close(lock)

    def _take_away(self, path: Path) -> Path | None:
        """Rename a folder nobody uses, so that it is no entry any more; None if in use."""
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _has_name(lock, path):
                return None
            removed = Path(tempfile.mkdtemp(prefix=_REMOVED_PREFIX, dir=self._folder))
            return path.rename(removed)
        except BlockingIOError:
            return None
        except OSError as error:  # a file system without locks: better keep than break
            _log.warning("unpacked model %s is not removed: %s", path.name, error)
            return None
        finally:
            os.close(lock)

    def _remove_leftovers(self) -> None:
        newest = time.time() - _LEFTOVER_AGE_S
        for path in self._folder.iterdir():
            if not path.name.startswith((_UNPACKING_PREFIX, _REMOVED_PREFIX)):
                continue
            try:
                is_old = path.stat().st_mtime < newest
            except FileNotFoundError:  # another process removes leftovers too
                continue
            removed = self._take_away(path) if is_old else None
            if removed is not None:
                shutil.rmtree(removed, ignore_errors=True)


def recognise(file: BinaryIO, name: str) -> ArchiveKind:
    """Tell the format of an archive by its first bytes; the name helps when those do not.

    Raises:
        InvalidArchive: it is none of the formats.
    """
    file.seek(0)
    magic = file.read(4)
    if magic.startswith(_ZIP_MAGICS):
        return ArchiveKind.ZIP
    if magic.startswith(_GZIP_MAGIC):
        return ArchiveKind.TAR_GZ
    if name.endswith(".mar") and magic:  # a zip file may have something in front of it
        return ArchiveKind.ZIP
    msg = f"The archive {name!r} is neither a zip nor a tar.gz file."
    raise InvalidArchive(msg, hint="Build it with torch-model-archiver.")


def _content_key(
    file: BinaryIO, kind: ArchiveKind, total: int, on_progress: StageProgress | None
) -> str:
    digest = hashlib.sha256(f"{kind} {FORMAT_VERSION}\n".encode())
    file.seek(0)
    done = 0
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        done += len(chunk)
        if on_progress is not None:
            on_progress("checking", done, total)
    return digest.hexdigest()


def stage(on_progress: StageProgress | None, name: str) -> Progress | None:
    """Bind the name of a stage; None stays None."""
    if on_progress is None:
        return None
    report = on_progress
    return lambda done, total: report(name, done, total)


def _descend(folder: Path) -> Path:
    """A folder that holds nothing but one folder stands for that one."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _lock_shared(path: Path) -> int | None:
    """Descriptor of a shared lock on a folder; None when there is no such folder."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError as error:  # no locks here; then nothing is removed either
        _log.warning("the folder of unpacked models has no locks: %s", error)
    if _has_name(lock, path):
        return lock
    os.close(lock)
    return None


def _has_name(descriptor: int, path: Path) -> bool:
    """Whether the open folder still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _private_folder(folder: Path) -> Path:
    """Create a folder for this user alone: handler code is run from it.

    A folder below a shared temporary folder could have been put there by somebody else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            msg = f"{folder} does not belong to this user; remove it or set another work folder."
            raise ConfigError(msg)
        folder.chmod(0o700)
    except OSError as error:
        msg = f"{folder} cannot be used for unpacked models: {error.strerror}."
        raise ConfigError(msg) from error
    return folder.resolve()
