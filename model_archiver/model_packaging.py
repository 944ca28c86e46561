"""Pack a model as a `ModelArchiverConfig` says."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tsl.model_store.packing import ArchiveFormat, creation_time, pack_model
from tsl.model_store.packing_members import PackingOrder, split_extra_files

from .arg_parser import ArgParser
from .model_archiver_config import ModelArchiverConfig
from .model_archiver_error import ModelArchiverError

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
        raise ModelArchiverError(msg) from error
    packed = pack_model(
        order_of(config),
        Path(config.export_path),
        archive_format,
        overwrite=config.force,
        created_on=creation_time(os.environ),
    )
    for warning in packed.warnings:
        _log.warning("%s", warning)


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
