"""The class that scripts pack models with."""

from tsl.model_store.archiver import ModelArchiver

__all__ = ["ModelArchiver"]
