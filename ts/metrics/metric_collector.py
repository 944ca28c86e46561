"""The script that measures the machine: ``python -m ts.metrics.metric_collector --gpu N``."""

from tsl.backend.metrics.process_memory import check_process_mem_usage
from tsl.backend.metrics.system import main

__all__ = ["check_process_mem_usage", "main"]

if __name__ == "__main__":
    raise SystemExit(main())
