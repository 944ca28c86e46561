"""The steps of packing one by one."""

import zipfile

from tsl.model_store.archiver.export import (
    MANIFEST_FILE_NAME,
    MAR_INF,
    MODEL_ARCHIVE_VERSION,
    MODEL_SERVER_VERSION,
    ModelExportUtils,
    archiving_options,
    model_handlers,
)

__all__ = [
    "MANIFEST_FILE_NAME",
    "MAR_INF",
    "MODEL_ARCHIVE_VERSION",
    "MODEL_SERVER_VERSION",
    "ModelExportUtils",
    "archiving_options",
    "model_handlers",
    "zipfile",
]
