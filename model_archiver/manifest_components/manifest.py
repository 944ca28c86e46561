"""A manifest, and the languages that a handler may be written in."""

from tsl.model_store.archiver import Manifest, RuntimeType

__all__ = ["Manifest", "RuntimeType"]
