"""How busy the accelerators are, through NVIDIA's management library where it is installed.

``nvidia-ml-py`` is an optional dependency (the extra ``gpu``); without it, or without a driver,
there is nothing to read, which is said once.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)


class GpuState(NamedTuple):
    """One accelerator at one moment.

    Attributes:
        number: from 0.
        memory_used_bytes: of its memory.
        memory_percent: the same as a share, 0 to 100.
        busy_percent: share of time in which something ran, 0 to 100; None where it is not told.
    """

    number: int
    memory_used_bytes: int
    memory_percent: float
    busy_percent: float | None


class GpuReader:
    """Reads the first accelerators of this machine.

    Args:
        count: how many; with 0 nothing is imported.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._nvml: Any = None

    def read(self) -> list[GpuState]:
        """The state of each; empty when they cannot be read."""
        if not self._count:
            return []
        try:
            nvml = self._library()
            return [
                _state(nvml, index) for index in range(min(self._count, nvml.nvmlDeviceGetCount()))
            ]
        except Exception as error:  # the library's errors have no common base before it is there
            logger.warning("The accelerators' metrics cannot be read: %s", error)
            self._count = 0
            return []

    def _library(self) -> Any:
        if self._nvml is None:
            nvml = importlib.import_module("pynvml")
            nvml.nvmlInit()
            self._nvml = nvml
        return self._nvml


def _state(nvml: Any, index: int) -> GpuState:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        busy: float | None = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except nvml.NVMLError:  # a slice of a device does not tell
        busy = None
    return GpuState(index, memory.used, memory.used / memory.total * 100, busy)
