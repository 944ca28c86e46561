"""Folders of models, for tests of handlers."""

from tsl.backend.model_folders import copy_files, download_model

__all__ = ["copy_files", "download_model"]
