"""What a starting server says about its models."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tsl.frontend.report import ModelReport, StartReport
from tsl.frontend.server import _model_report


def report_of(pool):
    version = SimpleNamespace(name="m", version="1.0")
    return _model_report(SimpleNamespace(version=version, pool=pool))


def test_no_workers(new_pool):
    assert report_of(new_pool()) == ModelReport(name="m", version="1.0", state="no workers")


def test_loading(world, new_pool):
    pool = new_pool()
    pool.scale(2, 2)

    report = report_of(pool)

    assert (report.state, report.workers_ready, report.workers_wanted) == ("loading", 0, 2)


def test_ready_with_the_time_of_the_quickest(new_serving):
    pool, _ = new_serving(workers=2)
    pool.workers[0].load_ms = 3000.0

    report = report_of(pool)

    assert (report.state, report.workers_ready, report.reason) == ("ready", 2, "")
    assert report.load_s == 0.0125


def test_failed_with_the_reason(world, new_pool, launcher):
    pool = new_pool()
    pool.scale(1, 1)
    world.advance()
    launcher.last.fail_to_load(reason="No module named 'x'")
    launcher.last.end(1)

    report = report_of(pool)

    assert (report.state, report.reason) == ("failed", "No module named 'x'")


def test_one_that_serves_outweighs_one_that_failed(world, new_pool, launcher):
    pool = new_pool()
    pool.scale(2, 2)
    world.advance()
    launcher.started[0].load()
    launcher.started[1].exit(1)

    report = report_of(pool)

    assert (report.state, report.workers_ready, report.workers_wanted) == ("ready", 1, 2)
    assert report.reason == ""


def test_reports_cannot_be_changed():
    report = StartReport(inference="i", management="m", metrics="", models=())

    with pytest.raises(AttributeError):
        report.inference = "x"
