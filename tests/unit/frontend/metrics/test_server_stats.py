"""What is measured along the way of requests, in each mode."""

from __future__ import annotations

import pytest

from tsl.frontend.jobs import JobState
from tsl.frontend.metrics import server_stats as module
from tsl.frontend.metrics.lines import LineGroup, LineSeries
from tsl.frontend.metrics.own import OwnMetrics
from tsl.frontend.metrics.server_stats import ServerStats
from tsl.protocol.errors import HandlerFailed, JobCancelled, QueueFull


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(module, "monotonic", lambda: 100.0)


@pytest.fixture
def answered(new_job):
    """A job of a model that arrived at 99.0 and was sent at 99.25."""

    def make(model="m", version="default"):
        job = new_job(now=99.0)
        job.labels = (model, version)
        job.sent_at = 99.25
        return job

    return make


STATUSES = (200, 201, 302, 400, 404, 499, 500, 503, 599)


def test_responses_are_counted_by_class_and_redirections_are_no_errors(new_board, samples):
    board = new_board()
    stats = ServerStats(board, None)

    for status in STATUSES:
        stats.responded(status)

    assert samples(board) == [
        'Requests2XX{Level="Host",Hostname="vm",} 2.0',
        'Requests4XX{Level="Host",Hostname="vm",} 3.0',
        'Requests5XX{Level="Host",Hostname="vm",} 3.0',
    ]


def test_requests_and_latencies_are_counted_by_model_and_version(new_board, samples, answered):
    board = new_board()
    stats = ServerStats(board, None)

    for job in (answered(), answered(), answered(version="2.0")):
        stats.accepted(job)
        stats.answered(job, 200)

    labels = '{model_name="m",model_version="default",hostname="vm",}'
    other = '{model_name="m",model_version="2.0",hostname="vm",}'
    found = samples(board)
    assert f"ts_inference_requests_total{labels} 2.0" in found
    assert f"ts_inference_latency_microseconds{labels} 2000000.0" in found
    assert f"ts_queue_latency_microseconds{labels} 500000.0" in found
    assert f"ts_inference_requests_total{other} 1.0" in found
    assert 'QueueTime{Level="Host",Hostname="vm",} 250.0' in found


def test_a_failed_job_has_no_latency(new_board, samples, answered):
    board = new_board()
    stats = ServerStats(board, None)
    job = answered()
    stats.accepted(job)

    stats.failed(job, HandlerFailed())

    assert samples(board, "ts_inference_latency_microseconds") == []


def test_in_log_mode_every_update_is_a_line_and_the_page_is_empty(new_board, lines, answered):
    board = new_board("log")
    stats = ServerStats(board, None)
    job = answered()

    stats.accepted(job)
    stats.answered(job, 200)
    stats.responded(200)
    stats.responded(200)

    labels = "|#model_name:m,model_version:default|#hostname:vm"
    assert "\n".join(lines.added).split("\n") == [
        f"ts_inference_requests_total.Count:1.0{labels}",
        f"ts_inference_latency_microseconds.Microseconds:1000000.0{labels}",
        f"ts_queue_latency_microseconds.Microseconds:250000.0{labels}",
        "QueueTime.Milliseconds:250.0|#Level:Host|#hostname:vm",
        "Requests2XX.Count:1.0|#Level:Host|#hostname:vm",
        "Requests2XX.Count:1.0|#Level:Host|#hostname:vm",
    ]
    assert board.page() == b""


def test_in_legacy_mode_three_are_on_the_page_and_the_others_are_lines(
    new_board, lines, samples, answered
):
    board = new_board("legacy")
    stats = ServerStats(board, None)
    job = answered()

    stats.accepted(job)
    stats.answered(job, 200)
    stats.responded(200)

    assert [line.partition("{")[0] for line in samples(board)] == [
        "ts_inference_requests_total",
        "ts_inference_latency_microseconds",
        "ts_queue_latency_microseconds",
    ]
    assert [line.partition(".")[0] for line in lines.added] == ["QueueTime", "Requests2XX"]


def test_when_their_log_is_off_nothing_is_measured_for_it(answered):
    from tsl.frontend.metrics.board import Board
    from tsl.frontend.metrics.definitions import built_in
    from tsl.frontend.metrics.families import NULL

    board = Board(built_in(), "log", None)

    assert board.series("QueueTime", "Host") is NULL


# -- tsl's own


@pytest.fixture
def own():
    return OwnMetrics()


def values(own):
    """Samples with a value, by name and the last label."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in own.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith("_bucket")
    }


def test_durations_are_histograms_with_a_count(new_board, own, answered):
    stats = ServerStats(new_board(), own)

    for _ in range(2):
        stats.answered(answered(), 200)

    found = values(own)
    assert found["tsl_request_duration_seconds_count", "m", "default"] == 2
    assert found["tsl_request_duration_seconds_sum", "m", "default"] == 2.0
    assert found["tsl_queue_time_seconds_sum", "m", "default"] == 0.5
    assert ("tsl_first_chunk_seconds_count", "m", "default") not in found


def test_a_stream_has_a_first_chunk_and_its_duration_counts_to_the_end(
    new_board, own, answered, monkeypatch
):
    stats = ServerStats(new_board(), own)
    job = answered()
    job.state = JobState.STREAMING

    stats.answered(job, 200)
    monkeypatch.setattr(module, "monotonic", lambda: 104.0)
    job.state = JobState.DONE
    stats.streamed(job)

    found = values(own)
    assert found["tsl_first_chunk_seconds_sum", "m", "default"] == 1.0
    assert found["tsl_request_duration_seconds_count", "m", "default"] == 1
    assert found["tsl_request_duration_seconds_sum", "m", "default"] == 5.0


def test_what_went_wrong_is_counted_by_kind(new_board, own, answered):
    stats = ServerStats(new_board(), own)

    for error in (QueueFull(), QueueFull(), JobCancelled()):
        stats.failed(answered(), error)

    found = values(own)
    assert found["tsl_errors_total", "m", "default", "QueueFull"] == 2
    assert found["tsl_errors_total", "m", "default", "ClientLeft"] == 1


def test_responses_are_counted_by_status(new_board, own):
    stats = ServerStats(new_board(), own)

    for status in STATUSES:
        stats.responded(status)

    found = values(own)
    assert {key[1] for key in found} == {str(status) for status in STATUSES}


def test_callers_without_the_right_key_are_counted(new_board, own):
    stats = ServerStats(new_board(), own)

    for reason in ("missing", "missing", "expired"):
        stats.refused("management", reason)

    found = values(own)
    assert found["tsl_refused_callers_total", "management", "missing"] == 2
    assert found["tsl_refused_callers_total", "management", "expired"] == 1


def test_without_an_eye_for_them_they_cost_nothing(new_board, answered, lines):
    stats = ServerStats(new_board("log"), None)

    stats.streamed(answered())
    stats.failed(answered(), QueueFull())

    assert lines.added == []


def test_models_that_come_and_go_do_not_fill_the_memory(new_board, answered, caplog):
    stats = ServerStats(new_board(), None)

    for number in range(1200):
        stats.accepted(answered(f"m{number}"))
    stats.accepted(answered("m1"))

    assert len(stats._models) == 1000
    assert "ts_inference_requests_total has 1000 combinations" in caplog.text


@pytest.mark.parametrize("taken", [1.0, 30.0], ids=["usual", "with an exponent"])
def test_what_is_logged_together_reads_as_if_it_were_not(taken):
    together, alone = [], []
    made = [(f"A{n}%d.Count:".encode(), b"|#x:100%") for n in range(3)]
    values = (int(taken * 1_000_000), 5, 0)

    LineGroup([LineSeries(together.append, *parts) for parts in made]).update(*values)
    for parts, value in zip(made, values, strict=True):
        LineSeries(alone.append, *parts).update(value)

    assert b"\n".join(together) == b"\n".join(alone)
    assert (b"3.0E7" in together[0]) == (taken == 30.0)
