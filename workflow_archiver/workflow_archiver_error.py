"""The error of the archiver; also raised for files that are missing."""

from tsl.protocol.errors import ConfigError as WorkflowArchiverError

__all__ = ["WorkflowArchiverError"]
