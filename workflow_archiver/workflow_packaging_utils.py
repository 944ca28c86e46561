"""Names of the original that scripts and tests reach for."""

import zipfile

from tsl.model_store.archiver.workflow import MANIFEST_FILE_NAME, WAR_INF, WorkflowExportUtils

__all__ = ["MANIFEST_FILE_NAME", "WAR_INF", "WorkflowExportUtils", "zipfile"]
