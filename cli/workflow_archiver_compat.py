"""The command ``torch-workflow-archiver``: TorchServe's options.

Nothing here imports `workflow_archiver`: another package may have put its files in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tsl.model_store.archiver.workflow import WorkflowArgParser, workflow_order_of
from tsl.model_store.packing import PackedModel
from tsl.model_store.unpacking import Progress
from tsl.model_store.workflow_packing import pack_workflow

from .archive import show_packing


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        args: the words after the program's name; ``sys.argv`` when None.

    Returns:
        The exit code: 0, or 1 when it cannot be packed. A wrong command line ends the process
        with 2.
    """
    parsed = WorkflowArgParser.workflow_archiver_args_parser().parse_args(args)

    def make(progress: Progress, created_on: datetime) -> PackedModel:
        return pack_workflow(
            workflow_order_of(parsed),
            Path(parsed.export_path),
            overwrite=parsed.force,
            created_on=created_on,
            on_progress=progress,
        )

    return show_packing(make, is_quiet=True)
