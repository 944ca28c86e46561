"""The Python interface of torch-workflow-archiver: TorchServe's names, over `tsl.model_store`."""

from .version import __version__

__all__ = ["__version__"]
