"""Keys on disk: the file that a server leaves for its clients, and the ones it is given.

TorchServe's ``key_file.json`` in the working folder, mode 0600. It is written whole or not at
all, and removed when the server stops; a file that another server has written meanwhile is left
alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tsl.protocol.errors import ConfigError

from .config_fields import key_text

if TYPE_CHECKING:
    from .config import ServerConfig

KEY_FILE_NAME: Final = "key_file.json"
KEY_NAMES: Final = ("inference", "management", "API")
MAX_BYTES: Final = 64 * 1024


class KeyFile:
    """The key file of one server.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._written = b""

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the content; who reads it meanwhile sees the old or the new one.

        Raises:
            OSError: the folder cannot be written.
        """
        content = json.dumps(document, indent=2).encode() + b"\n"
        # mkstemp: nobody else can read it, or have put a link in its place.
        descriptor, draft = tempfile.mkstemp(".json", ".key_file_", self.path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(draft).replace(self.path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        self._written = content

    def remove(self) -> None:
        """Delete the file if it still is the one that was written here."""
        with contextlib.suppress(OSError):  # gone, or the folder is
            if self._written and self.path.read_bytes() == self._written:
                self.path.unlink()


def fixed_keys(config: ServerConfig) -> dict[str, str]:
    """The keys that the operator has chosen, by name.

    Raises:
        ConfigError: ``keys_file`` cannot be read, or holds something that is no key.
    """
    keys = read_keys_file(config.keys_file) if config.keys_file is not None else {}
    given = {
        "inference": config.inference_key,
        "management": config.management_key,
        "API": config.api_key,
    }
    return keys | {name: key for name, key in given.items() if key}


def read_keys_file(path: Path) -> dict[str, str]:
    """Keys by name from ``keys_file``: a JSON file, or a folder with a file for each key.

    Raises:
        ConfigError: it cannot be used; the text does not repeat what it holds.
    """
    try:
        found = _from_folder(path) if path.is_dir() else _from_json(path)
    except OSError as error:
        msg = f"keys_file={path} cannot be read: {error.strerror}."
        raise ConfigError(msg) from error
    except (ValueError, TypeError, KeyError) as error:
        msg = f"keys_file={path} is not of the form of {KEY_FILE_NAME}."
        raise ConfigError(msg, "docs/security.md shows one.") from error
    if not found:
        msg = f"keys_file={path} holds no key: {', '.join(KEY_NAMES)} are the names it may have."
        raise ConfigError(msg)
    for name, key in found.items():
        try:
            key_text(key)
        except ValueError as error:
            msg = f"keys_file={path}: the {name} key is not usable: {error}."
            raise ConfigError(msg) from error
    return found


def _from_folder(folder: Path) -> dict[str, str]:
    return {name: _text(folder / name) for name in KEY_NAMES if (folder / name).is_file()}


def _from_json(file: Path) -> dict[str, str]:
    document = json.loads(_text(file))
    return {name: str(document[name]["key"]) for name in KEY_NAMES if name in document}


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(MAX_BYTES).decode("utf-8").strip()
