"""Measure the machine."""

from tsl.backend.metrics.system import (
    collect_all,
    cpu_utilization,
    dimension,
    disk_available,
    disk_used,
    disk_utilization,
    gpu_utilization,
    memory_available,
    memory_used,
    memory_utilization,
    system_metrics,
)

__all__ = [
    "collect_all",
    "cpu_utilization",
    "dimension",
    "disk_available",
    "disk_used",
    "disk_utilization",
    "gpu_utilization",
    "memory_available",
    "memory_used",
    "memory_utilization",
    "system_metrics",
]
