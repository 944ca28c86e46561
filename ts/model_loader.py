"""Load a model outside of a worker, as tests of handlers do."""

from tsl.backend.loader import ModelLoaderFactory

__all__ = ["ModelLoaderFactory"]
