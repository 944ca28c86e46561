"""Memory for large bodies."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

_new: Final[Callable[[None, int], bytearray]] = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t
)(("PyByteArray_FromStringAndSize", ctypes.pythonapi))


def new_buffer(size: int) -> bytearray:
    """A bytearray whose content is not defined: fill all of it before anybody sees it.

    ``bytearray(size)`` writes a zero to every byte first. That costs as much as receiving them,
    and takes the memory of a body that has only been announced.

    Args:
        size: bytes, not negative.

    Raises:
        MemoryError: there is not so much.
    """
    return _new(None, size)
