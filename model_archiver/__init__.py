"""The Python interface of torch-model-archiver: TorchServe's names, over `tsl.model_store`."""

from .model_archiver import ModelArchiver
from .model_archiver_config import ModelArchiverConfig
from .version import __version__

__all__ = ["ModelArchiver", "ModelArchiverConfig", "__version__"]
