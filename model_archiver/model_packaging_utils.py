"""Names of the original that scripts and tests reach for; `tsl.model_store` does the work."""

import zipfile

from tsl.model_store.packing import ArchiveFormat

MAR_INF = "MAR-INF"
MANIFEST_FILE_NAME = "MANIFEST.json"

archiving_options = {each.value: each.suffix for each in ArchiveFormat}

__all__ = ["MANIFEST_FILE_NAME", "MAR_INF", "archiving_options", "zipfile"]
