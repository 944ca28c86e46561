"""Base class for pipelines over a group of processes."""

from tsl.backend.handlers.base_pippy_handler import BasePippyHandler

__all__ = ["BasePippyHandler"]
