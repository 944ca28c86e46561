"""Time the steps of a handler when its configuration asks for it."""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def timed(func: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorate a method of a handler so that its duration becomes a metric.

    With ``handler: {profile: true}`` in the model's configuration each call adds
    ``ts_handler_<name of the method>`` in milliseconds; without it the call costs one look-up.
    On an accelerator the work queued by the method is waited for.
    """

    @functools.wraps(func)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        context: Any = getattr(self, "context", None)
        if not _is_profiled(context):
            return func(self, *args, **kwargs)
        _synchronize()
        started = time.perf_counter()
        result = func(self, *args, **kwargs)
        _synchronize()
        elapsed_ms = round((time.perf_counter() - started) * 1000, 2)
        context.metrics.add_time(f"ts_handler_{func.__name__}", elapsed_ms)
        return result

    return call


def _is_profiled(context: Any) -> bool:
    settings = getattr(context, "model_yaml_config", None)
    if not settings:
        return False
    section = settings.get("handler")
    return bool(isinstance(section, dict) and section.get("profile"))


def _synchronize() -> None:
    """Wait for the accelerator, if this process uses one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def timeit(func: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that each call logs how long it took, in seconds."""

    @functools.wraps(func)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        started = time.perf_counter()
        try:
            return func(*args, **kwargs)
        finally:
            logger.info("%s took %.6f s", func.__qualname__, time.perf_counter() - started)

    return call
