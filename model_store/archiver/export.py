"""The steps of packing one by one, for scripts that call them; `packaging` does it in one go."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

from tsl.protocol.errors import ConfigError

from ..manifest import MANIFEST_PATH
from ..packing import MODEL_NAME, ArchiveFormat, creation_time, replaced_file
from ..packing_members import BUILT_IN_HANDLERS, PackingOrder, select_members, split_extra_files
from ..packing_writers import write_folder, write_tar_gz, write_zip
from .config import ModelArchiverConfig
from .manifest import Manifest, Model

logger = logging.getLogger(__name__)

MANIFEST_FILE_NAME: Final = MANIFEST_PATH.name
MAR_INF: Final = MANIFEST_PATH.parts[0]
MODEL_SERVER_VERSION: Final = "1.0"
MODEL_ARCHIVE_VERSION: Final = "1.0"

archiving_options: Final = {each.value: each.suffix for each in ArchiveFormat}
model_handlers: Final = {
    name: {"base_handler": "anything", "text_classifier": "text"}.get(
        name, "text" if name.endswith("llm_handler") else "vision"
    )
    for name in BUILT_IN_HANDLERS
}
"""Built-in handlers, and the kind of input that each is for."""


class ModelExportUtils:
    """Steps of packing."""

    @staticmethod
    def get_archive_export_path(export_file_path: str, model_name: str, archive_format: str) -> str:
        """Where the archive of a model goes."""
        return os.path.join(export_file_path, model_name + _format(archive_format).suffix)  # noqa: PTH118  # text in, text out

    @staticmethod
    def check_mar_already_exists(
        model_name: str,
        export_file_path: str | None,
        overwrite: bool,
        archive_format: str = "default",
    ) -> str:
        """Check that the archive may be written.

        Returns:
            The folder it goes to: the given one, or the working folder.

        Raises:
            ModelArchiverError: it is there and must not be replaced.
        """
        folder = export_file_path or os.getcwd()  # noqa: PTH109  # a text, as in the original
        path = ModelExportUtils.get_archive_export_path(folder, model_name, archive_format)
        if Path(path).exists():
            if not overwrite:
                msg = f"{path} is there already; --force replaces it."
                raise ConfigError(msg)
            logger.warning("%s is replaced.", path)
        return folder

    @staticmethod
    def find_unique(files: Iterable[str], suffix: str) -> str | None:
        """The one file with a suffix, None without one.

        Raises:
            ModelArchiverError: there are several.
        """
        found = [file for file in files if file.endswith(suffix)]
        if len(found) > 1:
            msg = f"There must be one {suffix} file only, not {len(found)}: {', '.join(found)}."
            raise ConfigError(msg)
        return found[0] if found else None

    @staticmethod
    def generate_model(modelcfg: ModelArchiverConfig) -> Model:
        """The manifest's member ``model`` for an order."""
        return Model(
            model_name=modelcfg.model_name,
            serialized_file=_name(modelcfg.serialized_file),
            handler=str(_name(modelcfg.handler)),
            model_file=_name(modelcfg.model_file),
            model_version=modelcfg.version,
            requirements_file=_name(modelcfg.requirements_file),
            config_file=_name(modelcfg.config_file),
        )

    @staticmethod
    def generate_manifest_json(config: ModelArchiverConfig) -> str:
        """The manifest for an order, as JSON."""
        return str(Manifest(config.runtime, ModelExportUtils.generate_model(config)))

    @staticmethod
    def clean_temp_files(temp_files: Iterable[str]) -> None:
        """Remove files."""
        for file in temp_files:
            Path(file).unlink()

    @staticmethod
    def make_dir(d: str) -> None:
        """Create a folder unless it is there."""
        Path(d).mkdir(parents=True, exist_ok=True)

    @staticmethod
    def copy_artifacts(model_name: str, runtime: str, **kwargs: Any) -> str:
        """Gather the files of a model in a new folder.

        Args:
            model_name: name of the folder.
            runtime: one of the runtimes.
            **kwargs: ``handler``, ``serialized_file``, ``model_file``, ``extra_files``,
                ``requirements_file`` and ``config_file``, as in `ModelArchiverConfig`.

        Returns:
            The folder; it is the caller's to remove.

        Raises:
            ModelArchiverError: a file is missing, or two have the same name.
        """
        paths = {
            name: Path(kwargs[name])
            for name in ("serialized_file", "model_file", "requirements_file", "config_file")
            if kwargs.get(name)
        }
        order = PackingOrder(
            model_name=model_name,
            handler=str(kwargs.get("handler") or BUILT_IN_HANDLERS[0]),
            model_version="",
            extra_files=split_extra_files(kwargs.get("extra_files")),
            runtime=runtime,
            **paths,
        )
        selection = select_members(order)
        if selection.problems:
            raise ConfigError(*selection.problems)
        for warning in selection.warnings:
            logger.warning("%s", warning)
        # A folder of its own: one with a name that others know could be theirs.
        folder = Path(tempfile.mkdtemp(prefix="model-"), model_name)
        folder.mkdir()
        write_folder(folder, selection.members)
        return str(folder)

    @staticmethod
    def archive(
        export_file: str,
        model_name: str,
        model_path: str,
        manifest: str,
        archive_format: str = "default",
    ) -> None:
        """Write an archive of a folder and a manifest.

        Args:
            export_file: folder of the archive.
            model_name: name of the archive.
            model_path: folder with the files.
            manifest: content of the manifest.
            archive_format: how to store it.
        """
        kind = _format(archive_format)
        members: dict[str, bytes | Path] = {
            path.relative_to(model_path).as_posix(): path for path in _files(model_path)
        }
        members[MANIFEST_PATH.as_posix()] = manifest.encode()
        output = Path(ModelExportUtils.get_archive_export_path(export_file, model_name, kind))
        if kind is ArchiveFormat.NO_ARCHIVE:
            output.mkdir(parents=True, exist_ok=True)
            write_folder(output, members)
            return
        moment = creation_time(os.environ)
        with replaced_file(output) as file:
            if kind is ArchiveFormat.TGZ:
                write_tar_gz(file, model_name, members, moment)
            else:
                write_zip(file, members, moment, is_compressed=kind is ArchiveFormat.DEFAULT)

    @staticmethod
    def archive_dir(
        path: str,
        dst: zipfile.ZipFile | tarfile.TarFile | str,
        archive_format: str,
        model_name: str,
    ) -> None:
        """Add the files of a folder to an archive.

        Args:
            path: the folder.
            dst: an open zip or tar file, or, without an archive, a folder.
            archive_format: which of these it is.
            model_name: name of the folder inside of a tar file.
        """
        for file in _files(path):
            name = file.relative_to(path).as_posix()
            if isinstance(dst, zipfile.ZipFile):
                dst.write(file, name)
            elif isinstance(dst, tarfile.TarFile):
                dst.add(file, f"{model_name}/{name}")
            else:
                target = Path(dst, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        del archive_format  # `dst` says it

    @staticmethod
    def directory_filter(directory: str, unwanted_dirs: Collection[str]) -> bool:
        """Whether a folder of this name is packed."""
        return directory not in unwanted_dirs and not directory.startswith(".")

    @staticmethod
    def file_filter(current_file: str, files_to_exclude: set[str]) -> bool:
        """Whether a file of this name is packed; it is, once."""
        is_new = current_file not in files_to_exclude
        files_to_exclude.add(current_file)
        return is_new

    @staticmethod
    def check_model_name_regex_or_exit(model_name: str) -> None:
        """Check the name of a model.

        Raises:
            ModelArchiverError: it is not allowed.
        """
        if not re.fullmatch(MODEL_NAME, model_name):
            msg = f"The model name {model_name!r} does not match {MODEL_NAME.pattern}."
            raise ConfigError(msg)

    @staticmethod
    def validate_inputs(model_name: str, export_path: str) -> None:
        """Check name and export path, which is created if it is missing.

        Raises:
            ModelArchiverError: the name is not allowed, or the path is no folder.
        """
        ModelExportUtils.check_model_name_regex_or_exit(model_name)
        try:
            Path(export_path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{export_path} cannot be the folder of an archive: {error.strerror}."
            raise ConfigError(msg) from error


def _format(text: str) -> ArchiveFormat:
    try:
        return ArchiveFormat(text)
    except ValueError as error:
        msg = f"archive_format must be one of {', '.join(ArchiveFormat)}."
        raise ConfigError(msg) from error


def _name(path: str | None) -> str | None:
    return os.path.basename(path) if path else None  # noqa: PTH119  # may end in ``:function``


def _files(folder: str) -> list[Path]:
    unwanted = ("__pycache__", "__MACOSX")
    found = []
    for path in sorted(Path(folder).rglob("*")):
        parts = path.relative_to(folder).parts[:-1]
        if path.is_file() and all(
            ModelExportUtils.directory_filter(part, unwanted) for part in parts
        ):
            found.append(path)
    return found
