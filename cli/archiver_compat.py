"""The command ``torch-model-archiver``: TorchServe's options.

Nothing here imports `model_archiver`: another package may have put its files in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tsl.model_store.archiver import ArgParser, ModelArchiverConfig, order_of
from tsl.model_store.packing import ArchiveFormat

from .archive import pack


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        args: the words after the program's name; ``sys.argv`` when None.

    Returns:
        The exit code: 0, or 1 when it cannot be packed. A wrong command line ends the process
        with 2.
    """
    config = ModelArchiverConfig.from_args(ArgParser.export_model_args_parser().parse_args(args))
    return pack(
        order_of(config),
        Path(config.export_path),
        ArchiveFormat(config.archive_format),
        overwrite=config.force,
        is_quiet=True,
    )
