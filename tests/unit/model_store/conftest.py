"""Builders of archives for the tests of `tsl.model_store`."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest


def _manifest_text(**members):
    model = {"modelName": "echo", "modelVersion": "1.0", "handler": "echo.py"}
    model.update(members)
    model = {key: value for key, value in model.items() if value is not None}
    return json.dumps({"runtime": "python", "model": model, "archiverVersion": "0.12.0"}).encode()


@pytest.fixture
def manifest_text():
    """Build the text of a MANIFEST.json; arguments are members of its "model"."""
    return _manifest_text


@pytest.fixture
def model_files():
    """Build the files of a model: name to content."""

    def build(extra=None, **members):
        return {
            "MAR-INF/MANIFEST.json": _manifest_text(**members),
            "echo.py": b"def handle(data, context): return data\n",
            **(extra or {}),
        }

    return build


@pytest.fixture
def write_zip():
    """Write a zip file from (name or ZipInfo, content) pairs or a mapping."""

    def write(path, entries, compression=zipfile.ZIP_DEFLATED):
        pairs = entries.items() if isinstance(entries, dict) else entries
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in pairs:
                archive.writestr(name, content)
        return path

    return write


@pytest.fixture
def write_tar():
    """Write a tar.gz file from (name or TarInfo, content) pairs or a mapping."""

    def write(path, entries, top="model/"):
        pairs = entries.items() if isinstance(entries, dict) else entries
        with tarfile.open(path, "w:gz") as archive:
            for name, content in pairs:
                info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(top + name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def tree():
    """Read a folder: relative file name to content."""

    def read(folder):
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    return read
