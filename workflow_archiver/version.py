"""The version that manifests carry."""

from typing import Final

from tsl.model_store.packing import archiver_version

__version__: Final = archiver_version()
