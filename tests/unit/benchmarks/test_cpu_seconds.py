"""Processor time of processes whose threads come and go."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.processes import cpu_seconds


def test_a_thread_that_ends_meanwhile_is_left_out(monkeypatch):
    before = cpu_seconds(os.getpid())
    gone = Path("/proc/self/task/0/schedstat")
    found = Path.glob

    def glob(self, pattern):
        return [gone, *found(self, pattern)]

    monkeypatch.setattr(Path, "glob", glob)

    assert cpu_seconds(os.getpid()) >= before > 0
