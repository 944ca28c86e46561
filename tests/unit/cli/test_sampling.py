"""What happened between two looks at a server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tsl.cli.api_client import NoAnswer
from tsl.cli.sampling import Look, look, quantile_ms, read_page, rows
from tsl.cli.status import ModelStatus

READY = ModelStatus("m", "1.0", 1, 1, 3)


def page(count, *, slow=0, errors=0, waited_s=0.0, version="1.0"):
    """A metrics page after so many answers, some of them slow."""
    model = f'model_name="m",model_version="{version}"'
    return f"""\
# TYPE tsl_request_duration_seconds histogram
tsl_request_duration_seconds_bucket{{{model},le="0.1"}} {count - slow}
tsl_request_duration_seconds_bucket{{{model},le="1.0"}} {count}
tsl_request_duration_seconds_bucket{{{model},le="+Inf"}} {count}
tsl_request_duration_seconds_count{{{model}}} {count}
tsl_request_duration_seconds_sum{{{model}}} 1
# TYPE tsl_queue_time_seconds histogram
tsl_queue_time_seconds_bucket{{{model},le="+Inf"}} {count}
tsl_queue_time_seconds_count{{{model}}} {count}
tsl_queue_time_seconds_sum{{{model}}} {waited_s}
# TYPE tsl_errors_total counter
tsl_errors_total{{{model},error="a"}} {errors}
tsl_errors_total{{{model},error="b"}} {errors}
# TYPE tsl_in_flight gauge
tsl_in_flight{{{model}}} 2
# TYPE other gauge
other{{{model}}} 99
"""


def look_at(at, text="", defaults=None):
    return Look(at, (READY,), {("m", "1.0"): 5}, read_page(text), defaults or {})


def test_rates_are_differences_over_time():
    (row,) = rows(look_at(10, page(100)), look_at(12, page(150, slow=25, errors=2, waited_s=1.0)))

    assert row.status == READY
    assert row.requests_per_s == 25
    assert row.errors_per_s == 2
    assert row.in_flight == 2
    assert row.queue_ms == 20
    assert row.p50_ms == pytest.approx(100)
    assert 900 < row.p99_ms < 1000
    assert row.memory_bytes == 5


def test_counters_that_fell_began_anew():
    (row,) = rows(look_at(0, page(1000)), look_at(1, page(10)))

    assert row.requests_per_s == 10


@pytest.mark.parametrize(("default", "expected"), [("1.0", 8), ("2.0", 5)])
def test_requests_without_a_version_belong_to_the_default_one(default, expected):
    """Its histograms are added to those of the requests that named it."""

    def at(moment, named, unnamed):
        values = {**read_page(page(named)), **read_page(page(unnamed, version="default"))}
        return Look(moment, (READY,), {}, values, {"m": default})

    (row,) = rows(at(0, 10, 100), at(1, 15, 103))

    assert row.requests_per_s == expected


def test_nothing_happened():
    (row,) = rows(look_at(0, page(7)), look_at(1, page(7)))

    assert (row.requests_per_s, row.errors_per_s) == (0, 0)
    assert (row.p50_ms, row.p99_ms, row.queue_ms) == (None, None, None)


def test_without_a_page_the_rest_is_still_known():
    (row,) = rows(look_at(0), look_at(1))

    assert (row.requests_per_s, row.errors_per_s, row.in_flight, row.p50_ms) == (None,) * 4
    assert row.status.queued == 3


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({"1.0": 0, "+Inf": 0}, 0.5, None),
        ({"1.0": 10, "+Inf": 10}, 0.5, 500),
        ({"1.0": 0, "2.0": 10, "+Inf": 10}, 0.5, 1500),
        ({"1.0": 1, "+Inf": 10}, 0.99, 1000),
        ({"+Inf": 10}, 0.5, 0),
    ],
)
def test_a_quantile_is_linear_within_its_bucket(buckets, share, expected):
    assert quantile_ms(buckets, share) == expected


class FakeApi:
    def __init__(self, **answers):
        self.answers = answers

    def call(self, method, path, *, is_long=False):
        return 200, self.answers[path]

    def text(self, path):
        if "page" not in self.answers:
            raise NoAnswer("no")
        return self.answers["status"], self.answers["page"]


MANAGEMENT = FakeApi(
    **{
        "/models?limit=100": {"models": [{"modelName": "m"}]},
        "/models/m/all": [
            {
                "modelName": "m",
                "modelVersion": "1.0",
                "minWorkers": 2,
                "workers": [
                    {"status": "READY", "memoryUsage": 3},
                    {"status": "UNLOADING", "memoryUsage": 4},
                ],
            }
        ],
    }
)


@pytest.mark.parametrize(
    ("metrics", "has_values"),
    [
        (FakeApi(status=200, page=page(1)), True),
        (FakeApi(status=404, page="{}"), False),
        (FakeApi(), False),
        (None, False),
    ],
    ids=["page", "refused", "silent", "off"],
)
def test_a_look_needs_the_models_and_takes_the_page_if_there_is_one(metrics, has_values):
    seen = look(SimpleNamespace(management=MANAGEMENT, metrics=metrics))

    assert [(status.name, status.state) for status in seen.models] == [("m", "degraded")]
    assert seen.memory_bytes == {("m", "1.0"): 7}
    assert seen.defaults == {"m": "1.0"}
    assert bool(seen.values) == has_values
