"""Pack a workflow as the options say."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from tsl.model_store.packing import creation_time
from tsl.model_store.packing_members import split_extra_files
from tsl.model_store.workflow_packing import WorkflowOrder, pack_workflow

from .arg_parser import ArgParser

_log = logging.getLogger(__name__)


def generate_workflow_archive() -> None:
    """Pack what the options of this process name.

    Raises:
        WorkflowArchiverError: it cannot be packed.
    """
    package_workflow(ArgParser.workflow_archiver_args_parser().parse_args())


def package_workflow(args: argparse.Namespace, manifest: str | None = None) -> None:
    """Pack a workflow.

    Args:
        args: result of the parser in `arg_parser`.
        manifest: content of its manifest; by default made of the options.

    Raises:
        WorkflowArchiverError: it cannot be packed.
    """
    packed = pack_workflow(
        order_of(args),
        Path(args.export_path),
        overwrite=args.force,
        created_on=creation_time(os.environ),
        manifest=None if manifest is None else manifest.encode(),
    )
    for warning in packed.warnings:
        _log.warning("%s", warning)


def order_of(args: argparse.Namespace) -> WorkflowOrder:
    """The same in the words of tsl."""
    return WorkflowOrder(
        workflow_name=args.workflow_name,
        spec_file=Path(args.spec_file),
        handler=Path(args.handler) if args.handler else None,
        extra_files=split_extra_files(args.extra_files),
    )
