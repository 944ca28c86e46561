"""Tell how much memory processes use; for custom system-metrics scripts."""

from __future__ import annotations

import sys
from typing import TextIO


def get_memory_bytes(pid: int) -> int:
    """Resident memory of a process in bytes, 0 if there is no such process."""
    import psutil  # handlers that import ``ts.metrics`` have no use for it

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def check_process_mem_usage(stdin: TextIO) -> None:
    """Print ``pid:bytes`` for each process named on standard input.

    Args:
        stdin: process ids separated by commas, on one or more lines.
    """
    for line in stdin:
        for word in line.split(","):
            if word.strip().isdigit():
                pid = int(word)
                sys.stdout.write(f"{pid}:{get_memory_bytes(pid)}\n")
