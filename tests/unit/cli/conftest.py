"""Reports and records that the tests of the command line share."""

from __future__ import annotations

import os

import pytest

from tsl.cli.pidfile import ServerRecord, start_ticks_of
from tsl.frontend.report import ModelReport, StartReport


@pytest.fixture
def report():
    """A server with one ready, one failed and one loading model."""
    return StartReport(
        inference="http://127.0.0.1:8080",
        management="http://127.0.0.1:8081",
        metrics="http://127.0.0.1:8082",
        models=(
            ModelReport(
                name="good",
                version="1.0",
                state="ready",
                workers_ready=2,
                workers_wanted=2,
                load_s=1.25,
            ),
            ModelReport(name="bad", version="2.0", state="failed", reason="No module named 'x'"),
            ModelReport(name="slow", version="1.0", state="loading", workers_wanted=1),
        ),
    )


@pytest.fixture
def record(tmp_path):
    """The record of a server that is this very process."""
    return ServerRecord(
        pid=os.getpid(),
        start_ticks=start_ticks_of(os.getpid()),
        inference="http://127.0.0.1:8080",
        management="http://127.0.0.1:8081",
        metrics="",
        working_dir=str(tmp_path),
        started_at="2026-11-22T08:39:17+00:00",
        stop_within_s=40.0,
    )
