"""The options of ``torch-model-archiver``."""

from tsl.model_store.archiver import ArgParser

__all__ = ["ArgParser"]
