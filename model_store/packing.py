"""Make a model archive: check the order, write beside the target, then rename.

The same order with the same files gives the same bytes. So nothing in an archive comes from the
clock, and the manifest's ``createdOn`` is a fixed day; who wants a time in it sets
``SOURCE_DATE_EPOCH``, as for other tools that build reproducibly.

There is no staging folder: whoever reads the export path sees the old archive or the new one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO, Final

from tsl.protocol.errors import ConfigError, InvalidParameter

from .manifest import DEFAULT_RUNTIME, MANIFEST_PATH, RUNTIMES
from .names import check_name
from .packing_members import PackingOrder, select_members
from .packing_writers import Members, write_folder, write_tar_gz, write_zip
from .unpacking import Progress

DEFAULT_CREATED_ON: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""The first moment that a zip file can name."""

_LAST_CREATED_ON: Final = datetime(2107, 12, 31, tzinfo=UTC)
MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")
_TEMPORARY_PREFIX: Final = ".packing-"


class ArchiveFormat(StrEnum):
    """How an archive is stored; the values are those of ``--archive-format``."""

    TGZ = "tgz"
    NO_ARCHIVE = "no-archive"
    ZIP_STORE = "zip-store"
    DEFAULT = "default"

    @property
    def suffix(self) -> str:
        """What follows the model's name in the name of the output."""
        return {ArchiveFormat.TGZ: ".tar.gz", ArchiveFormat.NO_ARCHIVE: ""}.get(self, ".mar")


@dataclass(frozen=True, slots=True)
class PackedModel:
    """What `pack_model` has made.

    Attributes:
        path: the archive, or the folder.
        size_bytes: size of the archive, or of all files in the folder.
        warnings: sentences about what was probably not meant.
    """

    path: Path
    size_bytes: int
    warnings: tuple[str, ...]


def pack_model(
    order: PackingOrder,
    export_path: Path,
    archive_format: ArchiveFormat = ArchiveFormat.DEFAULT,
    *,
    overwrite: bool = False,
    created_on: datetime = DEFAULT_CREATED_ON,
    on_progress: Progress | None = None,
) -> PackedModel:
    """Pack a model.

    Args:
        order: what to pack.
        export_path: folder of the archive; created if it is missing.
        archive_format: how to store it.
        overwrite: replace an archive of that name.
        created_on: the time in the archive, see `creation_time`.
        on_progress: told about the bytes read.

    Raises:
        ConfigError: the order cannot be carried out; it has all reasons.
    """
    output = export_path / f"{order.model_name}{archive_format.suffix}"
    with system_errors(output):
        members, warnings = _checked_members(order, output, archive_format, overwrite=overwrite)
        members = {
            str(MANIFEST_PATH): manifest_text(_model_entry(order), order.runtime, created_on),
            **members,
        }
        export_path.mkdir(parents=True, exist_ok=True)
        if archive_format is ArchiveFormat.NO_ARCHIVE:
            size_bytes = _write_folder(output, members, on_progress)
        else:
            write = _file_writer(archive_format, order.model_name, members, created_on, on_progress)
            with replaced_file(output) as file:
                write(file)
            size_bytes = output.stat().st_size
    return PackedModel(output, size_bytes, warnings)


def manifest_text(
    model: Mapping[str, Any],
    runtime: str = DEFAULT_RUNTIME,
    created_on: datetime = DEFAULT_CREATED_ON,
) -> bytes:
    """The content of ``MANIFEST.json``.

    Args:
        model: its member ``model``: name, version, handler and files.
        runtime: one of the runtimes.
        created_on: the time that it carries.
    """
    return json.dumps(manifest_document(model, runtime, created_on), indent=2).encode()


def manifest_document(
    model: Mapping[str, Any], runtime: str, created_on: datetime
) -> dict[str, Any]:
    """A manifest as JSON object; see `manifest_text`."""
    return {
        "createdOn": created_on.strftime("%d/%m/%Y %H:%M:%S"),
        "runtime": runtime,
        "model": dict(model),
        "archiverVersion": archiver_version(),
    }


def archiver_version() -> str:
    """The version that manifests carry: that of tsl."""
    try:
        return version("tsl")
    except PackageNotFoundError:  # run from a checkout
        return "0"


def creation_time(environ: Mapping[str, str]) -> datetime:
    """The time that an archive carries: ``SOURCE_DATE_EPOCH``, or a fixed day.

    Args:
        environ: environment variables.

    Raises:
        ConfigError: the variable is not a number of seconds that an archive can carry.
    """
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return DEFAULT_CREATED_ON
    try:
        moment = datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        msg = f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, not {text!r}."
        raise ConfigError(msg) from error
    return min(max(moment, DEFAULT_CREATED_ON), _LAST_CREATED_ON)


@contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside the target; it gets the target's name when the block ends well.

    Args:
        path: the target; its folder exists.

    Raises:
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY_PREFIX)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def system_errors(output: Path) -> Iterator[None]:
    """Make a `ConfigError` of what the system refuses while ``output`` is written."""
    try:
        yield
    except OSError as error:
        msg = f"{error.filename or output} cannot be read or written: {error.strerror or error}."
        raise ConfigError(msg) from error


def _checked_members(
    order: PackingOrder, output: Path, archive_format: ArchiveFormat, *, overwrite: bool
) -> tuple[Members, tuple[str, ...]]:
    """The files to pack, sorted by name, and the warnings about them."""
    problems = _order_problems(order)
    selection = select_members(order, left_out=None if problems else output)
    problems += selection.problems
    problems += output_problems(output, archive_format, overwrite=overwrite)
    if archive_format is ArchiveFormat.NO_ARCHIVE:
        problems += _overlaps(output, selection.members)
    if problems:
        raise ConfigError(*problems)
    return dict(sorted(selection.members.items())), tuple(selection.warnings)


def _order_problems(order: PackingOrder) -> list[str]:
    problems = []
    if not MODEL_NAME.fullmatch(order.model_name):
        problems.append(
            f"--model-name: {order.model_name!r} is not allowed; it must begin with a letter or"
            " digit, and go on with letters, digits, '_', '-' and '.' only."
        )
    if order.model_version:
        try:
            check_name(order.model_version, "--version")
        except InvalidParameter as error:
            problems.append(error.message)
    if order.runtime not in RUNTIMES:
        problems.append(f"--runtime: {order.runtime!r} is none of {', '.join(RUNTIMES)}.")
    if not order.manifest_handler:
        problems.append(f"--handler: {order.handler!r} is no file and no built-in handler.")
    return problems


def output_problems(output: Path, archive_format: ArchiveFormat, *, overwrite: bool) -> list[str]:
    """Reasons why there can be no archive of that name, in sentences."""
    folder = output.parent
    if folder.exists() and not folder.is_dir():
        return [f"--export-path: {folder} is not a folder."]
    if not os.path.lexists(output):
        return []
    if not overwrite:
        return [f"{output} is there already; --force replaces it."]
    is_folder = output.is_dir() and not output.is_symlink()
    if archive_format is not ArchiveFormat.NO_ARCHIVE:
        return [f"{output} is a folder; an archive cannot replace it."] if is_folder else []
    if is_folder and ((output / MANIFEST_PATH).is_file() or not any(output.iterdir())):
        return []
    # Replacing means removing what is there: that must not hit anything but a packed model.
    return [f"{output} is not the folder of a packed model; it is not replaced."]


def _overlaps(output: Path, members: Mapping[str, Path]) -> list[str]:
    """Files that would be removed with the folder that is replaced."""
    folder = output.resolve()
    return [
        f"{path} is inside of {output}, which would be replaced; export to another folder."
        for path in members.values()
        if path.absolute().is_relative_to(folder) or path.resolve().is_relative_to(folder)
    ]


def _model_entry(order: PackingOrder) -> dict[str, str]:
    """The manifest's member ``model``, in the order that people are used to."""
    entry = {
        "modelName": order.model_name,
        "serializedFile": order.serialized_file and order.serialized_file.name,
        "handler": order.manifest_handler,
        "modelFile": order.model_file and order.model_file.name,
        "modelVersion": order.model_version,
        "requirementsFile": order.requirements_file and order.requirements_file.name,
        "configFile": order.config_file and order.config_file.name,
    }
    return {key: value for key, value in entry.items() if value}


def _file_writer(
    archive_format: ArchiveFormat,
    model_name: str,
    members: Members,
    created_on: datetime,
    on_progress: Progress | None,
) -> Callable[[BinaryIO], None]:
    if archive_format is ArchiveFormat.TGZ:
        return lambda file: write_tar_gz(
            file, model_name, members, created_on, on_progress=on_progress
        )
    is_compressed = archive_format is ArchiveFormat.DEFAULT
    return lambda file: write_zip(
        file, members, created_on, is_compressed=is_compressed, on_progress=on_progress
    )


def _write_folder(output: Path, members: Members, on_progress: Progress | None) -> int:
    """Write the model's folder; one that is there is moved aside, and removed in the end."""
    work = Path(tempfile.mkdtemp(dir=output.parent, prefix=_TEMPORARY_PREFIX))
    try:
        new, old = work / "new", work / "old"
        new.mkdir(mode=0o755)
        write_folder(new, members, on_progress=on_progress)
        size_bytes = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
        if output.exists():
            output.rename(old)
        try:
            new.rename(output)
        except OSError:
            if old.exists():
                old.rename(output)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return size_bytes
