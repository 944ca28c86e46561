"""What to pack."""

from tsl.model_store.archiver import ModelArchiverConfig

__all__ = ["ModelArchiverConfig"]
