"""The languages that a handler may be written in."""

from enum import Enum


class RuntimeType(Enum):
    """Runtimes of the manifest."""

    PYTHON = "python"
    PYTHON3 = "python3"
    LSP = "LSP"


__all__ = ["RuntimeType"]
