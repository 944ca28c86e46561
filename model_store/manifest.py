"""The manifest of a model archive: ``MAR-INF/MANIFEST.json``, parsed and checked.

A folder without a manifest is a model too; it is described by the default values. Whether the
files that a manifest names exist is not checked here: some are optional, some are the
handler's business.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, NoReturn

from tsl.protocol.errors import InvalidArchive

MANIFEST_PATH: Final = PurePosixPath("MAR-INF", "MANIFEST.json")
MAX_MANIFEST_BYTES: Final = 1024 * 1024
"""Real manifests have some 500 bytes."""

RUNTIMES: Final = ("python", "python3", "LSP")
DEFAULT_RUNTIME: Final = "python"
DEFAULT_VERSION: Final = "1.0"

_DRIVE: Final = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive says about itself.

    Attributes:
        model_name: name to register under, unless the request has another one.
        model_version: any text; versions are not ordered.
        handler: entry point, ``module[.py][:function]`` or the name of a built-in handler.
        runtime: one of `RUNTIMES`.
        serialized_file: weights, relative to the model folder.
        model_file: Python file with the model's class, relative to the model folder.
        requirements_file: pip requirements, relative to the model folder.
        config_file: ``model-config.yaml``, relative to the model folder.
        extensions: free text for the handler.
        raw: the whole JSON document as it stands in the archive; None without a manifest.
    """

    model_name: str | None = None
    model_version: str = DEFAULT_VERSION
    handler: str | None = None
    runtime: str = DEFAULT_RUNTIME
    serialized_file: str | None = None
    model_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    extensions: str | None = None
    raw: dict[str, Any] | None = None

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Parse the content of ``MANIFEST.json``.

        Args:
            text: JSON in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

        Raises:
            InvalidArchive: not JSON, or a member has the wrong shape.
        """
        try:
            raw = json.loads(text, parse_constant=_refuse_constant)
            # Versions are often written as numbers. Read as text, 1.10 does not become 1.1.
            document = json.loads(text, parse_int=str, parse_float=str)
        except (ValueError, RecursionError) as error:
            msg = f"MANIFEST.json is not valid JSON: {error}."
            raise InvalidArchive(msg) from error
        if not isinstance(document, dict):
            msg = "MANIFEST.json must hold a JSON object."
            raise InvalidArchive(msg)
        model = document.get("model")
        if not isinstance(model, dict):
            msg = 'MANIFEST.json has no object "model".'
            raise InvalidArchive(msg)
        return cls(
            model_name=_text(model, "modelName"),
            model_version=_text(model, "modelVersion") or DEFAULT_VERSION,
            handler=_text(model, "handler"),
            runtime=_runtime(document),
            serialized_file=_file_name(model, "serializedFile"),
            model_file=_file_name(model, "modelFile"),
            requirements_file=_file_name(model, "requirementsFile"),
            config_file=_file_name(model, "configFile"),
            extensions=_text(model, "extensions"),
            raw=raw,
        )

    @classmethod
    def read(cls, model_dir: Path) -> Manifest:
        """Read the manifest of a model folder; default values when it has none.

        Args:
            model_dir: folder of an unpacked archive.

        Raises:
            InvalidArchive: the manifest is there, and it cannot be used.
        """
        path = model_dir / MANIFEST_PATH
        try:
            with path.open("rb") as file:
                text = file.read(MAX_MANIFEST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except OSError as error:
            msg = f"MANIFEST.json cannot be read: {error.strerror}."
            raise InvalidArchive(msg) from error
        if len(text) > MAX_MANIFEST_BYTES:
            msg = f"MANIFEST.json is larger than {MAX_MANIFEST_BYTES} bytes."
            raise InvalidArchive(msg)
        return cls.parse(text)


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON value"
    raise ValueError(msg)


def _text(members: dict[str, Any], key: str) -> str | None:
    """A text member; null and "" mean that it is absent."""
    value = members.get(key)
    if value is None or isinstance(value, str):
        return value or None
    msg = f'"{key}" in MANIFEST.json must be a text.'
    raise InvalidArchive(msg)


def _runtime(document: dict[str, Any]) -> str:
    runtime = _text(document, "runtime") or DEFAULT_RUNTIME
    if runtime not in RUNTIMES:
        msg = f'"runtime" in MANIFEST.json is {runtime!r}; it must be one of {", ".join(RUNTIMES)}.'
        raise InvalidArchive(msg)
    return runtime


def _file_name(members: dict[str, Any], key: str) -> str | None:
    name = _text(members, key)
    if name is not None and not _stays_inside(name):
        msg = f'"{key}" in MANIFEST.json names a file outside of the model: {name!r}.'
        raise InvalidArchive(msg)
    return name


def _stays_inside(name: str) -> bool:
    """Whether a relative file name cannot leave the folder that it is joined to."""
    parts = name.replace("\\", "/").split("/")
    return not (parts[0] == "" or ".." in parts or "\0" in name or _DRIVE.match(name))
