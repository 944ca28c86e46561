"""Pack a model as a `ModelArchiverConfig` says."""

from tsl.model_store.archiver import generate_model_archive, package_model

__all__ = ["generate_model_archive", "package_model"]
