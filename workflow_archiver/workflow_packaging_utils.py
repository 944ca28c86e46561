"""Names of the original that scripts and tests reach for; `tsl.model_store` does the work."""

from __future__ import annotations

import argparse
import os
import zipfile

from tsl.model_store.packing import creation_time
from tsl.model_store.workflow_packing import workflow_manifest

from .workflow_packaging import order_of

WAR_INF = "WAR-INF"
MANIFEST_FILE_NAME = "MANIFEST.json"

__all__ = ["MANIFEST_FILE_NAME", "WAR_INF", "WorkflowExportUtils", "zipfile"]


class WorkflowExportUtils:
    """Pieces of the archiver's work."""

    @staticmethod
    def generate_manifest_json(args: argparse.Namespace) -> str:
        """The content of the manifest.

        Args:
            args: result of the parser in `arg_parser`.
        """
        return workflow_manifest(order_of(args), creation_time(os.environ)).decode()
