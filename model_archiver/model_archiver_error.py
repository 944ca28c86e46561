"""The error of the archiver; also raised for files that are missing."""

from tsl.protocol.errors import ConfigError as ModelArchiverError

__all__ = ["ModelArchiverError"]
