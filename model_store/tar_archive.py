"""Unpack a ``tar.gz`` file into a fresh folder.

Such an archive has one top folder, named like the model; the first path component of every
entry is dropped. A file outside of any folder stays where it is.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from tsl.protocol.errors import InvalidArchive

from .unpacking import (
    CHUNK_BYTES,
    Budget,
    Destination,
    ExtractionLimits,
    Progress,
    archive_errors,
    safe_parts,
)

_MAX_READ_BYTES: Final = 4 * CHUNK_BYTES
"""tarfile reads a header extension in one piece, of whatever size the archive says."""

_CORRUPT: Final = (
    tarfile.TarError,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def unpack_tar_gz(
    file: BinaryIO, root: Path, limits: ExtractionLimits, on_progress: Progress | None = None
) -> None:
    """Unpack a gzip-compressed tar file.

    Args:
        file: the archive, seekable.
        root: a new folder that only we write to; whatever it holds after a failure is the
            caller's to remove.
        limits: how much may be unpacked.
        on_progress: told about bytes read from the archive.

    Raises:
        InvalidArchive: the archive is damaged, too large, or not a plain tree of files.
        ServiceUnavailable: the disk is full.
    """
    archive_bytes = file.seek(0, 2)
    file.seek(0)
    budget = Budget(limits, archive_bytes)
    destination = Destination(root, budget)
    with archive_errors("tar.gz", *_CORRUPT), gzip.GzipFile(fileobj=file, mode="rb") as inflated:
        stream = _Stream(inflated, budget)
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:") as archive:
            for info in archive:
                _unpack_entry(archive, info, destination)
                if on_progress is not None:
                    on_progress(file.tell(), archive_bytes)
        stream.finish()
    if destination.is_empty:
        msg = "The archive holds no file."
        raise InvalidArchive(msg)


def _unpack_entry(
    archive: tarfile.TarFile, info: tarfile.TarInfo, destination: Destination
) -> None:
    parts = safe_parts(info.name)
    if not info.name.startswith("./"):  # that dot is the top folder
        parts = parts[1:] or (() if info.isdir() else parts)
    if info.isdir():
        destination.add_folder(parts)
        return
    # Sparse files are refused: their holes are free in the archive and need not be on disk.
    source = archive.extractfile(info) if info.isreg() and not info.issparse() else None
    if source is None:
        msg = f"The archive has an entry that is no plain file (a link?): {info.name!r}."
        raise InvalidArchive(msg)
    with source:
        is_executable = bool(info.mode & stat.S_IXUSR)
        destination.add_file(parts, _chunks(source), is_executable=is_executable)


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


class _Stream:
    """What tarfile needs of a file, over a decompressor, without going backwards.

    `tarfile` stops silently at a header it cannot read; `finish` notices that.

    Args:
        inflated: the decompressed tar file.
        budget: counts every byte that comes out, headers and gaps included.
    """

    def __init__(self, inflated: gzip.GzipFile, budget: Budget) -> None:
        self._inflated = inflated
        self._budget = budget
        self._at = 0
        self._last_block = b""

    def read(self, size: int) -> bytes:
        if size > _MAX_READ_BYTES:
            msg = "The archive has a header of an impossible size."
            raise InvalidArchive(msg)
        data = self._inflated.read(size)
        self._budget.spend_bytes(len(data))
        self._at += len(data)
        if size == tarfile.BLOCKSIZE:
            self._last_block = data
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, position: int) -> int:
        if position < self._at:
            msg = "a tar file is read from front to back"
            raise io.UnsupportedOperation(msg)
        while self._at < position and self.read(min(position - self._at, CHUNK_BYTES)):
            pass
        return self._at

    def finish(self) -> None:
        """Read the rest: gzip's checksum is at its very end.

        Raises:
            InvalidArchive: what `tarfile` took for the end is none.
        """
        if self._last_block.strip(b"\0"):
            msg = "The tar.gz archive is damaged: an entry has no valid header."
            raise InvalidArchive(msg)
        while self.read(CHUNK_BYTES):
            pass
