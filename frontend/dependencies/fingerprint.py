"""What a requirements file asks for, as a hash: equal hashes may share one environment.

Besides the lines themselves, everything local that they name counts: other requirements files,
wheels, folders. What an index answers does not: like pip, we take what was installed for an
unchanged list as good.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tsl.protocol.errors import DependenciesFailed

MAX_REQUIREMENTS_BYTES: Final = 1024 * 1024
MAX_NESTED_FILES: Final = 100
_CHUNK_BYTES: Final = 1024 * 1024

_COMMENT: Final = re.compile(r"(^|\s)#.*$", re.MULTILINE)
_OPTION: Final = re.compile(r"^(?:-[rcef]|--[a-z-]+)\s*=?\s*")
_NESTED: Final = re.compile(r"^(?:-[rc]|--requirement|--constraint)\s*=?\s*(\S+)", re.MULTILINE)


def fingerprint(requirements: Path, model_dir: Path) -> str:
    """Hash of what a requirements file asks for. Blocks: it may read large wheels.

    Args:
        requirements: the file.
        model_dir: where pip will run; relative paths count from there or from the file.

    Raises:
        DependenciesFailed: the file is not there, or too large.
    """
    digest = hashlib.sha256()
    waiting, seen = [requirements], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        if len(seen) > MAX_NESTED_FILES:
            raise DependenciesFailed("The requirements file names too many others.")
        text = _read(file)
        digest.update(text.encode())
        for place in _places(text, (file.parent, model_dir)):
            _add(digest, place)
        for name in _NESTED.findall(text):
            waiting += [
                path for path in _existing(name, (file.parent, model_dir))[:1] if path.is_file()
            ]
    return digest.hexdigest()


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_REQUIREMENTS_BYTES + 1)
    except OSError as error:
        msg = f"The requirements file {file.name} cannot be read: {error.strerror}."
        raise DependenciesFailed(msg) from error
    if len(data) > MAX_REQUIREMENTS_BYTES:
        msg = f"The requirements file {file.name} is larger than {MAX_REQUIREMENTS_BYTES} bytes."
        raise DependenciesFailed(msg)
    text = _COMMENT.sub("", data.decode("utf-8", "replace").replace("\\\n", " "))
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _places(text: str, folders: tuple[Path, ...]) -> Iterator[Path]:
    """Files and folders that the lines name."""
    for line in text.splitlines():
        name = _OPTION.sub("", line.strip()).partition(";")[0]
        name = name.rpartition(" @ ")[2].partition("[")[0].strip()
        if name:
            yield from _existing(name, folders)[:1]


def _existing(name: str, folders: tuple[Path, ...]) -> list[Path]:
    """Where a name leads to, if it is one of a local file or folder."""
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    try:
        return [folder / name for folder in folders if (folder / name).exists()]
    except (OSError, ValueError):  # no path at all: too long, a NUL
        return []


def _add(digest: hashlib._Hash, place: Path) -> None:
    """Add the content of a file, or of all files of a folder."""
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    for file in files:
        if not file.is_file() or "__pycache__" in file.parts:
            continue
        digest.update(str(file.relative_to(place)).encode() + b"\0")
        with file.open("rb") as stream:
            while data := stream.read(_CHUNK_BYTES):
                digest.update(data)
