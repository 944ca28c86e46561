"""Write the files of a new archive as zip, as tar.gz or into a folder.

The bytes that are written depend on names, contents, executable bits and the given time alone:
no clock, no user, no umask, no order of a file system. The compressor's output is its own: another
version of zlib may compress differently.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from tsl.protocol.errors import ConfigError

from .unpacking import CHUNK_BYTES, Progress

Members = Mapping[str, bytes | Path]
"""Contents, or the file that has them, by name inside of the archive; written in this order."""

_GZIP_LEVEL: Final = 6
"""That of the zip files, too; Python's 9 takes far longer for hardly less."""

_UNIX: Final = 3
"""The system that a zip entry says it was made on; it decides how permissions are read."""


def write_zip(
    file: BinaryIO,
    members: Members,
    created_on: datetime,
    *,
    is_compressed: bool,
    on_progress: Progress | None = None,
) -> None:
    """Write a zip file.

    Args:
        file: where to; seekable.
        members: what.
        created_on: time of every entry; from 1980 to 2107, which is what the format can hold.
        is_compressed: deflate the entries, or store them as they are.
        on_progress: told about the bytes read.

    Raises:
        ConfigError: a file changed while it was read.
        OSError: a file cannot be read, or the archive cannot be written.
    """
    meter = _Meter(members, on_progress)
    method = zipfile.ZIP_DEFLATED if is_compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w") as archive:
        for name in members:
            with meter.opened(name) as source:
                info = zipfile.ZipInfo(name, created_on.timetuple()[:6])
                info.create_system = _UNIX
                info.external_attr = (stat.S_IFREG | source.mode) << 16
                info.compress_type = method
                info.file_size = source.size_bytes  # zipfile chooses zip64 by it
                with archive.open(info, "w") as target:
                    source.copy_to(target)


def write_tar_gz(
    file: BinaryIO,
    top: str,
    members: Members,
    created_on: datetime,
    *,
    on_progress: Progress | None = None,
) -> None:
    """Write a gzip-compressed tar file.

    Args:
        file: where to.
        top: name of the folder that everything is put in.
        members: what.
        created_on: time of every entry.
        on_progress: told about the bytes read.

    Raises:
        ConfigError: a file changed while it was read.
        OSError: a file cannot be read, or the archive cannot be written.
    """
    meter = _Meter(members, on_progress)
    with (
        gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in members:
            with meter.opened(name) as source:
                info = tarfile.TarInfo(f"{top}/{name}")
                info.mode = source.mode
                info.size = source.size_bytes
                info.mtime = int(created_on.timestamp())
                archive.addfile(info, cast("IO[bytes]", source))
                source.check_end()


def write_folder(folder: Path, members: Members, *, on_progress: Progress | None = None) -> None:
    """Write plain files.

    Args:
        folder: where to; empty.
        members: what.
        on_progress: told about the bytes read.

    Raises:
        ConfigError: a file changed while it was read.
        OSError: a file cannot be read or written.
    """
    meter = _Meter(members, on_progress)
    for name in members:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with meter.opened(name) as source, path.open("xb") as target:
            source.copy_to(target)
            os.fchmod(target.fileno(), source.mode)


@dataclass(slots=True)
class _Source:
    """One open member: its size is fixed when it is opened.

    Attributes:
        name: name in the archive.
        file: its content.
        size_bytes: how many bytes are going to be read.
        mode: permissions, of which only the owner's executable bit is the file's own.
        meter: told about the bytes read.
    """

    name: str
    file: BinaryIO
    size_bytes: int
    mode: int
    meter: _Meter
    done_bytes: int = 0

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.done_bytes += len(data)
        self.meter.count(len(data))
        if self.done_bytes > self.size_bytes or (not data and self.done_bytes < self.size_bytes):
            self._has_changed()
        return data

    def copy_to(self, target: IO[bytes]) -> None:
        while data := self.read(CHUNK_BYTES):
            target.write(data)

    def check_end(self) -> None:
        """For readers that stop at the expected size."""
        if self.file.read(1):
            self._has_changed()

    def _has_changed(self) -> None:
        msg = f"The file for {self.name!r} was changed while it was packed. Pack it again."
        raise ConfigError(msg)


class _Meter:
    """Opens members and counts what is read of them.

    Args:
        members: all that is going to be read.
        on_progress: told about the bytes done and the bytes in total.
    """

    def __init__(self, members: Members, on_progress: Progress | None) -> None:
        self._members = members
        self._on_progress = on_progress
        self._done = 0
        self._total = sum(
            source.stat().st_size if isinstance(source, Path) else len(source)
            for source in members.values()
        )

    @contextmanager
    def opened(self, name: str) -> Iterator[_Source]:
        member = self._members[name]
        if isinstance(member, bytes):
            yield _Source(name, io.BytesIO(member), len(member), 0o644, self)
            return
        with member.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            yield _Source(name, file, status.st_size, mode, self)

    def count(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._on_progress is not None and size_bytes:
            self._on_progress(self._done, self._total)
