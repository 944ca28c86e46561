"""Packing as scripts for ``torch-model-archiver`` know it; what the package ``model_archiver`` offers.

It lives here and not there, because the original archiver may be installed beside and put its own
files in the place of ``model_archiver``'s.
"""

from .config import ModelArchiverConfig
from .export import ModelExportUtils
from .manifest import Manifest, Model, RuntimeType
from .options import ArgParser
from .packaging import ModelArchiver, generate_model_archive, order_of, package_model

__all__ = [
    "ArgParser",
    "Manifest",
    "Model",
    "ModelArchiver",
    "ModelArchiverConfig",
    "ModelExportUtils",
    "RuntimeType",
    "generate_model_archive",
    "order_of",
    "package_model",
]
