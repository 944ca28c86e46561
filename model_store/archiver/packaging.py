"""Pack a model as a `ModelArchiverConfig` says."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from tsl.protocol.errors import ConfigError

from ..packing import ArchiveFormat, creation_time, pack_model
from ..packing_members import PackingOrder, split_extra_files
from .config import ModelArchiverConfig
from .export import ModelExportUtils
from .options import ArgParser

_log = logging.getLogger(__name__)


def generate_model_archive(config: ModelArchiverConfig | None = None) -> None:
    """Pack a model.

    Args:
        config: what to pack; the options of this process when None.

    Raises:
        ModelArchiverError: it cannot be packed.
    """
    if config is None:
        args = ArgParser.export_model_args_parser().parse_args()
        config = ModelArchiverConfig.from_args(args)
    try:
        archive_format = ArchiveFormat(config.archive_format)
    except ValueError as error:
        msg = f"archive_format must be one of {', '.join(ArchiveFormat)}."
        raise ConfigError(msg) from error
    packed = pack_model(
        order_of(config),
        Path(config.export_path),
        archive_format,
        overwrite=config.force,
        created_on=creation_time(os.environ),
    )
    for warning in packed.warnings:
        _log.warning("%s", warning)


def package_model(config: ModelArchiverConfig, manifest: str) -> None:
    """Pack a model with a manifest of the caller's.

    Args:
        config: what to pack.
        manifest: content of the manifest.

    Raises:
        ModelArchiverError: it cannot be packed.
    """
    ModelExportUtils.validate_inputs(config.model_name, config.export_path)
    folder = ModelExportUtils.check_mar_already_exists(
        config.model_name, config.export_path, config.force, config.archive_format
    )
    files = ModelExportUtils.copy_artifacts(
        config.model_name,
        config.runtime,
        handler=config.handler,
        serialized_file=config.serialized_file,
        model_file=config.model_file,
        extra_files=config.extra_files,
        requirements_file=config.requirements_file,
        config_file=config.config_file,
    )
    try:
        ModelExportUtils.archive(folder, config.model_name, files, manifest, config.archive_format)
    finally:
        shutil.rmtree(Path(files).parent)


def order_of(config: ModelArchiverConfig) -> PackingOrder:
    """The same in the words of tsl."""
    return PackingOrder(
        model_name=config.model_name,
        handler=config.handler,
        model_version=config.version,
        serialized_file=_path(config.serialized_file),
        model_file=_path(config.model_file),
        extra_files=split_extra_files(config.extra_files),
        runtime=config.runtime,
        requirements_file=_path(config.requirements_file),
        config_file=_path(config.config_file),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


class ModelArchiver:
    """Packs models."""

    @staticmethod
    def generate_model_archive(config: ModelArchiverConfig) -> None:
        """Pack a model.

        Args:
            config: what to pack.

        Raises:
            ModelArchiverError: it cannot be packed.
        """
        generate_model_archive(config)
