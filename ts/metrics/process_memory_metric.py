"""Tell how much memory processes use."""

from tsl.backend.metrics.process_memory import (
    check_process_mem_usage,
)
from tsl.backend.metrics.process_memory import (
    get_memory_bytes as get_cpu_usage,
)

__all__ = ["check_process_mem_usage", "get_cpu_usage"]
