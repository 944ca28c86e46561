"""Memory for large bodies, and room for them on their way."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

SOCKET_BYTES: Final = 1024 * 1024
"""What a worker's socket takes before its writer must wait for the reader, where the system allows so much
(``net.core.wmem_max``). By default it is 208 KiB, and a body of a megabyte takes five turns of both."""

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
