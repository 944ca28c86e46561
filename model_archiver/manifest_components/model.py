"""The manifest's member ``model``."""

from tsl.model_store.archiver import Model

__all__ = ["Model"]
