"""What processes behind the front end do for themselves: die with the parent, log, show a name."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from typing import Final

import setproctitle

PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that happens.

    A worker also ends at the end of its socket; this is for a worker that hangs in its handler.
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it went before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def set_up_logging() -> None:
    """Configure the root logger for handlers: plain messages on stdout, from INFO on."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s", force=True)


def set_title(title: str) -> None:
    """Name the process in ``ps`` and ``top``."""
    setproctitle.setproctitle(title)


def return_free_memory() -> None:
    """Give the kernel what the C library keeps for later.

    Before a fork: a child that writes to a kept page gets a copy of it, which is slower than a
    fresh page, and its own. `benchmarks/memory.py`
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
