"""Packing of workflows as scripts for ``torch-workflow-archiver`` know it.

Options are read by argparse, because scripts rely on how it does that: they may be shortened, and a
wrong one ends the process with exit code 2.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Final

from ..packing import creation_time
from ..packing_members import split_extra_files
from ..workflow_packing import WorkflowOrder, pack_workflow, workflow_manifest

_log = logging.getLogger(__name__)

WAR_INF: Final = "WAR-INF"
MANIFEST_FILE_NAME: Final = "MANIFEST.json"


class WorkflowArgParser:
    """Makes the parser."""

    @staticmethod
    def workflow_archiver_args_parser() -> argparse.ArgumentParser:
        """A parser whose result `package_workflow` understands."""
        parser = argparse.ArgumentParser(
            prog="torch-workflow-archiver",
            description="Pack a workflow, its specification and its functions, for the server.",
        )
        parser.add_argument(
            "--workflow-name", required=True, help="name of the workflow and of the archive"
        )
        parser.add_argument("--spec-file", required=True, help="specification, in YAML")
        parser.add_argument(
            "--handler", help="Python file with the functions; not needed without functions"
        )
        parser.add_argument(
            "--extra-files",
            help="files, folders (their content is packed) and wildcards, separated by commas",
        )
        parser.add_argument(
            "--export-path",
            default=os.getcwd(),  # noqa: PTH109 - a text, as in the original
            help="folder of the archive, created if it is missing; default: this one",
        )
        parser.add_argument(
            "-f", "--force", action="store_true", help="replace an existing archive"
        )
        return parser


def generate_workflow_archive() -> None:
    """Pack what the options of this process name.

    Raises:
        WorkflowArchiverError: it cannot be packed.
    """
    package_workflow(WorkflowArgParser.workflow_archiver_args_parser().parse_args())


def package_workflow(args: argparse.Namespace, manifest: str | None = None) -> None:
    """Pack a workflow.

    Args:
        args: result of `WorkflowArgParser`'s parser.
        manifest: content of its manifest; by default made of the options.

    Raises:
        WorkflowArchiverError: it cannot be packed.
    """
    packed = pack_workflow(
        workflow_order_of(args),
        Path(args.export_path),
        overwrite=args.force,
        created_on=creation_time(os.environ),
        manifest=None if manifest is None else manifest.encode(),
    )
    for warning in packed.warnings:
        _log.warning("%s", warning)


def workflow_order_of(args: argparse.Namespace) -> WorkflowOrder:
    """The same in the words of tsl."""
    return WorkflowOrder(
        workflow_name=args.workflow_name,
        spec_file=Path(args.spec_file),
        handler=Path(args.handler) if args.handler else None,
        extra_files=split_extra_files(args.extra_files),
    )


class WorkflowExportUtils:
    """Pieces of the archiver's work."""

    @staticmethod
    def generate_manifest_json(args: argparse.Namespace) -> str:
        """The content of the manifest.

        Args:
            args: result of `WorkflowArgParser`'s parser.
        """
        return workflow_manifest(workflow_order_of(args), creation_time(os.environ)).decode()
