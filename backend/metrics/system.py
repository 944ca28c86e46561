"""Measure the machine, in the manner of TorchServe's ``system_metrics`` scripts.

For scripts named by ``system_metrics_cmd``: they import these names, add functions of their own
and print what was measured. The server's own system metrics do not come from here.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import Any, Final

from .dimension import Dimension
from .legacy import Metric
from .process_memory import check_process_mem_usage

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
NVIDIA_SMI: Final = "nvidia-smi"
NVIDIA_SMI_TIMEOUT_S: Final = 20

system_metrics: list[Metric] = []
"""What has been measured; `collect_all` prints and empties it."""

dimension: list[Dimension] = [Dimension("Level", "Host")]
"""The labels of every measurement."""


def cpu_utilization() -> None:
    """Processor time in use, in percent of all processors, over a tenth of a second."""
    _add("CPUUtilization", _psutil().cpu_percent(interval=0.1), "percent")


def memory_used() -> None:
    """Memory in use, in MB."""
    _add("MemoryUsed", _psutil().virtual_memory().used / MIB, "MB")


def memory_available() -> None:
    """Memory that could be used without swapping, in MB."""
    _add("MemoryAvailable", _psutil().virtual_memory().available / MIB, "MB")


def memory_utilization() -> None:
    """Memory in use, in percent."""
    _add("MemoryUtilization", _psutil().virtual_memory().percent, "percent")


def disk_used() -> None:
    """Space in use on the root file system, in GB."""
    _add("DiskUsage", _psutil().disk_usage("/").used / GIB, "GB")


def disk_utilization() -> None:
    """Space in use on the root file system, in percent."""
    _add("DiskUtilization", _psutil().disk_usage("/").percent, "percent")


def disk_available() -> None:
    """Free space on the root file system, in GB."""
    _add("DiskAvailable", _psutil().disk_usage("/").free / GIB, "GB")


def gpu_utilization(num_of_gpu: int) -> None:
    """Memory and utilization of each accelerator, as ``nvidia-smi`` tells them.

    Args:
        num_of_gpu: how many accelerators the server uses; with 0 nothing is measured.
    """
    if num_of_gpu <= 0 or shutil.which(NVIDIA_SMI) is None:
        return
    fields = "index,utilization.gpu,memory.used,memory.total"
    answer = subprocess.run(  # noqa: S603  # a constant command
        [NVIDIA_SMI, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
        timeout=NVIDIA_SMI_TIMEOUT_S,
    )
    for line in answer.stdout.splitlines()[:num_of_gpu]:
        index, busy, used, total = (word.strip() for word in line.split(","))
        labels = [*dimension, Dimension("device_id", index)]
        share = 100 * float(used) / float(total)
        system_metrics.append(Metric("GPUMemoryUtilization", share, "percent", labels))
        system_metrics.append(Metric("GPUMemoryUsed", float(used), "MB", labels))
        system_metrics.append(Metric("GPUUtilization", float(busy), "percent", labels))


def collect_all(mod: ModuleType, num_of_gpu: int) -> None:
    """Call the measuring functions of a module and print what they have added.

    Args:
        mod: a module whose functions add to `system_metrics`; all that take no argument are
            called in alphabetical order, ``gpu_utilization`` with the number of accelerators.
        num_of_gpu: how many accelerators the server uses.
    """
    for name, function in sorted(vars(mod).items()):
        if isinstance(function, FunctionType) and not name.startswith("_"):
            _measure(function, num_of_gpu)
    sys.stdout.writelines(f"{metric}\n" for metric in system_metrics)
    sys.stdout.write("\n")
    sys.stdout.flush()
    system_metrics.clear()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure once; then print the memory of the processes named on standard input.

    Args:
        argv: ``--gpu N``, the number of accelerators; default is ``sys.argv``.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description="Print the state of this machine as metrics.")
    parser.add_argument("--gpu", type=int, default=0, help="number of accelerators in use")
    arguments = parser.parse_args(argv)
    collect_all(sys.modules[__name__], arguments.gpu)
    check_process_mem_usage(sys.stdin)
    return 0


def _measure(function: FunctionType, num_of_gpu: int) -> None:
    if function.__name__ == "gpu_utilization":
        function(num_of_gpu)
    elif function.__name__ != "main" and function.__code__.co_argcount == 0:
        function()  # a script's ``main`` is what has called `collect_all`


def _add(name: str, value: float, unit: str) -> None:
    system_metrics.append(Metric(name, value, unit, dimension))


def _psutil() -> Any:
    # Imported here: handlers that import ``ts.metrics`` do not measure the machine.
    import psutil

    return psutil
