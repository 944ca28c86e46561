"""Memory of processes, as system-metrics scripts print it."""

from __future__ import annotations

import io
import os

from tsl.backend.metrics.process_memory import check_process_mem_usage


def test_each_process_gets_a_line_and_unknown_ones_have_zero(capsys):
    check_process_mem_usage(io.StringIO(f"{os.getpid()},999999999, ,x\n"))

    mine, unknown = capsys.readouterr().out.splitlines()
    assert mine.startswith(f"{os.getpid()}:")
    assert int(mine.partition(":")[2]) > 1_000_000
    assert unknown == "999999999:0"
