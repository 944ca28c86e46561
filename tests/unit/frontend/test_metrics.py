"""Counters, the metrics page, and handlers' metrics as log lines."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from tsl.frontend import metrics as module
from tsl.frontend.metrics import HOSTNAME, MetricsPage, ModelMetricsLog, ServerStats
from tsl.protocol.errors import HandlerFailed
from tsl.protocol.frames import MetricRecord


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    fixed = SimpleNamespace(monotonic=lambda: 100.0, time=lambda: 1_700_000_000.9)
    monkeypatch.setattr(module, "time", fixed)


@pytest.fixture
def answered(new_job):
    """A job of a model that arrived at 99.0 and was sent at 99.25."""

    def make(model="m", version="default"):
        job = new_job(now=99.0)
        job.labels = (model, version)
        job.sent_at = 99.25
        return job

    return make


class Lines:
    def __init__(self):
        self.added = []

    def add(self, text):
        self.added.append(text)


def samples(stats, mode="prometheus", names=()):
    """Sample lines of the page without the host's labels."""
    text = MetricsPage(stats, mode).render(names).decode()
    return [
        re.sub(r',?[Hh]ostname="[^"]*",?', "", line)
        for line in text.splitlines()
        if not line.startswith("#")
    ]


def test_responses_are_counted_by_class():
    stats = ServerStats()
    for status in (200, 201, 302, 400, 404, 499, 500, 503, 599):
        stats.responded(status)

    assert samples(stats)[:3] == [
        'Requests2XX{Level="Host"} 2.0',
        'Requests4XX{Level="Host"} 3.0',
        'Requests5XX{Level="Host"} 4.0',
    ]


def test_requests_and_latencies_are_counted_by_model_and_version(answered):
    stats = ServerStats()
    for job in (answered(), answered(), answered(version="2.0")):
        stats.accepted(job)
        stats.answered(job, 200)

    default = '{model_name="m",model_version="default"}'
    found = samples(stats)
    assert f"ts_inference_requests_total{default} 2.0" in found
    assert f"ts_inference_latency_microseconds{default} 2e+06" in found
    assert f"ts_queue_latency_microseconds{default} 500000.0" in found
    assert 'ts_inference_requests_total{model_name="m",model_version="2.0"} 1.0' in found


def test_a_failed_job_has_no_latency(answered):
    stats = ServerStats()
    job = answered()
    stats.accepted(job)

    stats.failed(job, HandlerFailed())

    assert not any("latency" in line for line in samples(stats))


def test_in_log_mode_the_page_is_empty(answered):
    stats = ServerStats()
    stats.accepted(answered())

    assert MetricsPage(stats, "log").render() == b""


def test_the_page_can_be_restricted_to_names(answered):
    stats = ServerStats()
    stats.accepted(answered())

    (line,) = samples(stats, names=("ts_inference_requests_total",))

    assert line.startswith("ts_inference_requests_total")


def test_every_counter_explains_itself(answered):
    text = MetricsPage(ServerStats(), "prometheus").render().decode()

    assert len(re.findall(r"^# HELP \w+ Torchserve prometheus counter", text, re.M)) == 6
    assert len(re.findall(r"^# TYPE ", text, re.M)) == 6


# -- log lines


def test_prediction_time_of_a_batch(new_job):
    lines = Lines()

    ModelMetricsLog(lines).predicted("m", [new_job("r1"), new_job("r2")], 12_345)

    assert lines.added == [
        b"PredictionTime.ms:12.35|#ModelName:m,Level:Model|#hostname:%b,requestID:r1,r2,"
        b"timestamp:1700000000" % HOSTNAME.encode()
    ]


def test_prediction_time_of_one_job(new_job):
    lines = Lines()

    ModelMetricsLog(lines).predicted("m", [new_job("r1")], 1000)

    assert b"requestID:r1,timestamp" in lines.added[0]


@pytest.mark.parametrize(
    ("ids", "dimensions", "expected"),
    [
        ("a,b", ["Level", "Model", "k", "v"], b"n.ms:1.5|#Level:Model,k:v|#hostname:%b,requestID:a,b,timestamp:7"),
        ("", [], b"n.ms:1.5|#|#hostname:%b,requestID:null,timestamp:7"),
    ],
    ids=["in a request", "outside of requests"],
)  # fmt: skip
def test_a_handlers_metric(ids, dimensions, expected):
    lines = Lines()

    ModelMetricsLog(lines).record(
        "W-1", [MetricRecord("n", "ms", "GAUGE", 1.5, dimensions, ids, 7)]
    )

    assert lines.added == [expected % HOSTNAME.encode()]
