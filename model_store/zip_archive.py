"""Unpack a zip file (``.mar``) into a fresh folder."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

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

_IS_ENCRYPTED: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""All that archivers write; bzip2 and LZMA would bring decompressors with large memory."""

_CORRUPT: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def unpack_zip(
    file: BinaryIO, root: Path, limits: ExtractionLimits, on_progress: Progress | None = None
) -> None:
    """Unpack a zip file.

    Every entry is checked before the first one is written.

    Args:
        file: the archive, seekable.
        root: a new folder that only we write to; whatever it holds after a failure is the
            caller's to remove.
        limits: how much may be unpacked.
        on_progress: told about unpacked bytes.

    Raises:
        InvalidArchive: the archive is damaged, too large, or not a plain tree of files.
        ServiceUnavailable: the disk is full.
    """
    with archive_errors("zip", *_CORRUPT), zipfile.ZipFile(file) as archive:
        budget = Budget(limits, file.seek(0, 2))
        destination = Destination(root, budget)
        entries = [(_check(info), info) for info in archive.infolist()]
        total = sum(info.file_size for _, info in entries)
        budget.check_bytes(total)
        for parts, info in entries:
            if info.is_dir():
                destination.add_folder(parts)
                continue
            is_executable = bool(info.external_attr >> 16 & stat.S_IXUSR)
            chunks = _chunks(archive, info, budget, total, on_progress)
            destination.add_file(parts, chunks, is_executable=is_executable)
    if destination.is_empty:
        msg = "The archive holds no file."
        raise InvalidArchive(msg)


def _check(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """The path of an entry that may be unpacked."""
    name = info.orig_filename  # `filename` ends at the first NUL
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        msg = f"The archive has an entry that is neither file nor folder (a link?): {name!r}."
        raise InvalidArchive(msg)
    if info.flag_bits & _IS_ENCRYPTED:
        msg = f"The archive is encrypted: {name!r}."
        raise InvalidArchive(msg)
    if info.compress_type not in _METHODS:
        msg = f"The archive has an entry that is not compressed with deflate: {name!r}."
        raise InvalidArchive(msg)
    return safe_parts(name)


def _chunks(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    budget: Budget,
    total: int,
    on_progress: Progress | None,
) -> Iterator[bytes]:
    begin = budget.spent_bytes
    with archive.open(info) as source:
        while chunk := source.read(CHUNK_BYTES):
            budget.spend_bytes(len(chunk))
            yield chunk
            if on_progress is not None:
                on_progress(budget.spent_bytes, total)
    # zipfile notices an entry that is longer than it says, but not one that is shorter.
    if budget.spent_bytes - begin != info.file_size:
        msg = f"The zip archive is damaged: {info.filename!r} is shorter than it should be."
        raise InvalidArchive(msg)
