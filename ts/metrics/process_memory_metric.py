"""Tell how much memory processes use."""

from tsl.backend.metrics.process_memory import check_process_mem_usage

__all__ = ["check_process_mem_usage"]
