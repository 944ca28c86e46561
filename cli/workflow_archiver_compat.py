"""The command ``torch-workflow-archiver``: TorchServe's options, read by `workflow_archiver`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tsl.model_store.packing import PackedModel
from tsl.model_store.unpacking import Progress
from tsl.model_store.workflow_packing import pack_workflow
from workflow_archiver.arg_parser import ArgParser
from workflow_archiver.workflow_packaging import order_of

from .archive import show_packing


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        args: the words after the program's name; ``sys.argv`` when None.

    Returns:
        The exit code: 0, or 1 when it cannot be packed. A wrong command line ends the process
        with 2.
    """
    parsed = ArgParser.workflow_archiver_args_parser().parse_args(args)

    def make(progress: Progress, created_on: datetime) -> PackedModel:
        return pack_workflow(
            order_of(parsed),
            Path(parsed.export_path),
            overwrite=parsed.force,
            created_on=created_on,
            on_progress=progress,
        )

    return show_packing(make, is_quiet=True)
