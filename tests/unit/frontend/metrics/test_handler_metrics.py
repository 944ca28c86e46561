"""Handlers' metrics: which are taken, and how they are shown."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tsl.frontend.metrics import handler_metrics as module
from tsl.frontend.metrics.definitions import Definition, Definitions, built_in
from tsl.frontend.metrics.handler_metrics import HandlerMetrics
from tsl.frontend.metrics.own import OwnMetrics
from tsl.frontend.worker_channel import Batch
from tsl.protocol.frames import MetricRecord

MODEL = ["ModelName", "m", "Level", "Model"]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    fixed = SimpleNamespace(monotonic=lambda: 100.0, time=lambda: 1_700_000_000.9)
    monkeypatch.setattr(module, "time", fixed)


def record(name="Hits", kind="COUNTER", value=1.0, dimensions=MODEL, ids="r1", unit="Count"):
    return MetricRecord(name, unit, kind, value, list(dimensions), ids, 7)


HITS = Definition("Hits", "counter", "count", ("ModelName", "Level", "Hostname"))


@pytest.fixture
def new_metrics(new_board, lines):
    def make(mode="prometheus", defined=(HITS,), **options):
        definitions = Definitions(
            built_in().server, built_in().model | {each.name: each for each in defined}
        )
        board = new_board(mode, definitions)
        return HandlerMetrics(board, definitions.model, lines.add, **options)

    return make


def test_a_defined_metric_is_shown_with_the_definitions_unit(new_metrics, samples):
    metrics = new_metrics()
    pool = metrics.of("m", "1.0")

    pool.record([record(), record(value=2.5)])

    assert samples(metrics.board, "Hits") == [
        'Hits{ModelName="m",Level="Model",Hostname="vm",} 3.5'
    ]
    assert b"metric with unit: count\n# TYPE Hits counter" in metrics.board.page()


def test_in_log_mode_each_update_is_a_line_with_requests_and_time(new_metrics, lines):
    metrics = new_metrics("log")

    metrics.of("m", "1.0").record([record(value=0.5, ids="r1,r2"), record(ids="")])

    tail = "|#ModelName:m,Level:Model|#hostname:vm"
    assert lines.added == [
        f"Hits.count:0.5{tail},requestID:r1,r2,timestamp:7",
        f"Hits.count:1.0{tail},requestID:null,timestamp:7",
    ]


def test_a_metric_without_dimensions(new_metrics, lines):
    loose = Definition("Loose", "gauge", "unit", ("Hostname",))
    metrics = new_metrics("log", [loose])

    metrics.record([record("Loose", "GAUGE", dimensions=[])])

    assert lines.added == ["Loose.unit:1.0|#|#hostname:vm,requestID:r1,timestamp:7"]


def test_json_lines_have_the_same_parts(new_metrics, lines):
    metrics = new_metrics("log", is_json=True)

    metrics.record([record(ids="r1,r2"), record(value=float("inf"), ids="")])

    first, second = (json.loads("{" + line) for line in lines.added)
    assert first == {
        "name": "Hits",
        "unit": "count",
        "dimensions": {"ModelName": "m", "Level": "Model"},
        "hostname": "vm",
        "value": 1.0,
        "request_id": "r1,r2",
        "timestamp": 7,
    }
    assert second["value"] is None


@pytest.mark.parametrize("mode", ["prometheus", "log"])
def test_an_undefined_metric_is_discarded_and_that_is_said_once(
    new_metrics, samples, lines, caplog, mode
):
    metrics = new_metrics(mode)

    metrics.record([record("Own"), record("Own"), record("Own", dimensions=[])])

    assert samples(metrics.board, "Own") == lines.added == []
    (said,) = [each.getMessage() for each in caplog.records]
    assert "'Own' of a handler is not recorded" in said
    assert "model_metrics_auto_detect" in said


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("COUNTER", ['Own{k="v",Hostname="vm",} 5.0']),
        ("GAUGE", ['Own{k="v",Hostname="vm",} 3.0']),
        ("HISTOGRAM", ['Own_count{k="v",Hostname="vm",} 2.0', 'Own_sum{k="v",Hostname="vm",} 5.0']),
    ],
)
def test_detection_takes_kind_unit_and_dimensions_of_the_first_update(
    new_metrics, samples, kind, shown
):
    metrics = new_metrics(auto_detect=True)

    for value in (2.0, 3.0):
        metrics.record([record("Own", kind, value, ["k", "v"], unit="Megabytes")])

    assert samples(metrics.board, "Own", "Own_count", "Own_sum")[-len(shown) :] == shown
    assert (
        b"# HELP Own Torchserve prometheus %s metric with unit: Megabytes" % (kind.lower().encode())
        in metrics.board.page()
    )


def test_later_updates_with_other_dimensions_are_refused(new_metrics, samples, caplog):
    metrics = new_metrics(auto_detect=True)

    metrics.record([record("Own", dimensions=["k", "v"]), record("Own", dimensions=[])])

    assert samples(metrics.board, "Own") == ['Own{k="v",Hostname="vm",} 1.0']
    assert "is defined with k" in caplog.text


@pytest.mark.parametrize(
    ("name", "dimensions", "reason"),
    [
        ("no name", [], "no name of a metric"),
        ("tsl_mine", [], "taken"),
        ("QueueTime", [], "taken"),
        ("Own", ["le", "1"], "cannot have the dimensions"),
        ("Own", ["a b", "1"], "cannot have the dimensions"),
        ("Own", ["Hostname", "1"], "a dimension twice"),
    ],
)
def test_what_prometheus_could_not_read_is_not_shown(
    new_metrics, samples, caplog, name, dimensions, reason
):
    metrics = new_metrics(auto_detect=True)
    before = samples(metrics.board)

    metrics.record([record(name, "GAUGE", dimensions=dimensions)])

    assert samples(metrics.board) == before
    assert reason in caplog.text


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_counter_never_falls(new_metrics, samples, value):
    metrics = new_metrics()

    metrics.record([record(value=2.0), record(value=value)])

    assert samples(metrics.board, "Hits")[0].endswith(" 2.0")


def test_the_number_of_detected_metrics_is_bounded(new_metrics, monkeypatch, caplog):
    monkeypatch.setattr(module, "MAX_DETECTED", 3)
    metrics = new_metrics(auto_detect=True)

    metrics.record([record(f"Own{number}") for number in range(5)])

    page = metrics.board.page()
    assert [b"# TYPE Own%d " % number in page for number in range(5)] == [True] * 3 + [False] * 2
    assert "Own4" in caplog.text


def test_a_kind_that_does_not_exist_is_discarded(new_metrics, caplog):
    metrics = new_metrics(auto_detect=True)

    metrics.record([record("Own", "TIMER")])

    assert b"Own" not in metrics.board.page()
    assert "not recorded" in caplog.text


def test_line_breaks_in_names_do_not_make_lines(new_metrics, lines):
    metrics = new_metrics("log", auto_detect=True)

    metrics.record([record("a\nb", dimensions=["k", "v\r\nw"], unit="u\nv")])

    assert lines.added == ["a b.u v:1.0|#k:v  w|#hostname:vm,requestID:r1,timestamp:7"]


# -- what the front end knows about a batch


def batch_of(jobs, active_at=99.875):
    return Batch(1, jobs, active_at)


def test_prediction_time_of_a_batch_names_all_its_requests(new_metrics, lines, new_job):
    pool = new_metrics("log").of("m", "1.0")

    pool.predicted(batch_of([new_job("r1"), new_job("r2")]), 12_345)

    assert lines.added == [
        "PredictionTime.ms:12.35|#ModelName:m,Level:Model|#hostname:vm,requestID:r1,r2,"
        "timestamp:1700000000",
        "WorkerThreadTime.Milliseconds:112.0|#Level:Host|#hostname:vm",
    ]


def test_prediction_time_of_one_job(new_metrics, samples, new_job):
    metrics = new_metrics()

    metrics.of("m", "1.0").predicted(batch_of([new_job("r1")]), 1000)

    assert samples(metrics.board, "PredictionTime", "WorkerThreadTime") == [
        'WorkerThreadTime{Level="Host",Hostname="vm",} 124.0',
        'PredictionTime{ModelName="m",Level="Model",Hostname="vm",} 1.0',
    ]


def test_a_clock_that_disagrees_gives_no_negative_time(new_metrics, samples, new_job):
    metrics = new_metrics()

    metrics.of("m", "1.0").predicted(batch_of([new_job()]), 500_000)

    assert samples(metrics.board, "WorkerThreadTime")[0].endswith(" 0.0")


def test_batches_have_histograms(new_metrics, new_job):
    own = OwnMetrics()
    pool = new_metrics(own=own).of("m", "2.0")

    pool.predicted(batch_of([new_job(), new_job(), new_job()]), 20_000)

    found = {(s.name, *s.labels.values()): s.value for f in own.collect() for s in f.samples}
    assert found["tsl_batch_size_sum", "m", "2.0"] == 3
    assert found["tsl_batch_size_bucket", "m", "2.0", "2.0"] == 0
    assert found["tsl_batch_size_bucket", "m", "2.0", "4.0"] == 1
    assert found["tsl_handler_time_seconds_sum", "m", "2.0"] == 0.02


def test_load_times_name_their_worker(new_metrics, samples):
    metrics = new_metrics()

    metrics.of("m", "1.0").loaded("W-9000-m_1.0", 1716.4)

    assert samples(metrics.board, "WorkerLoadTime") == [
        'WorkerLoadTime{WorkerName="W-9000-m_1.0",Level="Host",Hostname="vm",} 1716.0'
    ]


def test_what_the_definitions_leave_out_is_not_measured(new_board, lines, new_job):
    metrics = HandlerMetrics(new_board("log", Definitions({}, {})), {}, lines.add)

    metrics.of("m", "1.0").predicted(batch_of([new_job()]), 1000)

    assert lines.added == []


def test_with_their_log_off_nothing_is_formatted(new_board, new_job):
    metrics = HandlerMetrics(new_board("log"), built_in().model, None)

    pool = metrics.of("m", "1.0")
    pool.predicted(batch_of([new_job()]), 1000)

    assert not pool._needs_ids
