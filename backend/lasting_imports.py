"""Imports of the fork server: for good, so that they can be quicker than others.

What a module makes while it is imported stays until the process ends. So nobody looks for garbage
in it, neither meanwhile nor in the workers that are forked later.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


def import_for_good(name: str) -> str:
    """Import a module once.

    Args:
        name: of the module. One that is not installed is left to the worker, which may have
            another use for its absence than to fail.

    Returns:
        Why nothing can be forked from this process for somebody who needs the module, or "".
    """
    if name in sys.modules:
        return ""
    try:
        with _uncollected(), _without_source_lines():
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            return _failure(name, error)
    except Exception as error:  # packages fail in every way there is
        return _failure(name, error)
    _limit_threads()
    return ""


def _failure(name: str, error: Exception) -> str:
    traceback.print_exc()
    return f"{name} cannot be imported in the fork server: {error}"


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep all that is made meanwhile out of every collection, here and in forked processes.

    A collection at the end would find less than a megabyte in what torch has made, and takes a
    twentieth of the time to the first answer.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


@contextmanager
def _without_source_lines() -> Iterator[None]:
    """Let `inspect.getframeinfo` tell file and line only, unless more is asked for.

    torch asks it where each of its operators is defined, and uses no more of the answer. The lines
    around that place, which are its default, have every source read: a fifteenth of the import.
    """
    original = inspect.getframeinfo

    def without_lines(frame: FrameType | TracebackType, context: int = 0) -> inspect.Traceback:
        return original(frame, context)

    inspect.getframeinfo = without_lines
    try:
        yield
    finally:
        inspect.getframeinfo = original


def _limit_threads() -> None:
    """Keep torch, if it has been imported, from starting threads in this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
