"""Load a model outside of a worker, as tests of handlers do."""

from tsl.backend.loader import ModelLoaderFactory, TsModelLoader
from tsl.backend.loader import TsModelLoader as ModelLoader

__all__ = ["ModelLoader", "ModelLoaderFactory", "TsModelLoader"]
