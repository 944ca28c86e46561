"""The older metrics interface: `Metric`, `MetricsStore`, `emit_metrics`."""

from __future__ import annotations

import json

import pytest

from tsl.backend.metrics import (
    Dimension,
    Metric,
    MetricEncoder,
    MetricsCache,
    MetricsCacheValueError,
    MetricsStore,
    emit_metrics,
    print_record,
    set_default_sink,
)


def test_counter_adds_and_everything_else_replaces():
    counter = Metric("Hits", 1, "count", [], metric_method="counter")
    gauge = Metric("Heat", 1, "celsius", [])

    counter.update(2)
    gauge.update(2)

    assert (counter.value, gauge.value) == (3, 2)
    counter.reset()
    assert counter.value == 0


def test_text_form_is_a_metric_line():
    text = str(Metric("CPU", 0.5, "percent", [Dimension("Level", "Host")], "id-0"))

    assert text.startswith("CPU.Percent:0.5|#Level:Host|#hostname:")
    assert text.endswith(",id-0")


def test_metric_as_json():
    document = json.loads(
        json.dumps([Metric("CPU", 0.5, "ms", [Dimension("Level", "Host")])], cls=MetricEncoder)
    )

    assert document[0]["MetricName"] == "CPU"
    assert document[0]["Unit"] == "Milliseconds"
    assert document[0]["Dimensions"] == [{"Name": "Level", "Value": "Host"}]


def test_encoder_still_refuses_other_objects():
    with pytest.raises(TypeError):
        json.dumps(object(), cls=MetricEncoder)


def test_store_keeps_one_metric_for_each_series():
    store = MetricsStore({0: "a", 1: "b"}, "m")

    store.add_counter("Hits", 1)
    store.add_counter("Hits", 2)
    store.add_counter("Hits", 1, idx=1)
    store.add_time("Took", 5, unit="s")

    assert [(metric.name, metric.value) for metric in store.store] == [
        ("Hits", 3),
        ("Hits", 1),
        ("Took", 5),
    ]
    assert store.store[0].request_id == "a,b"
    assert store.store[1].request_id == "b"


def test_store_marks_errors_and_checks_units():
    store = MetricsStore({0: "a"}, "m")

    store.add_error("Broken", 1)
    store.add_size("Size", 1, unit="kB")
    store.add_percent("Full", 50)
    store.add_metric("Heat", 20, "celsius")

    assert [str(each) for each in store.store[0].dimensions] == ["ModelName:m", "Level:Error"]
    assert [metric.unit for metric in store.store[1:]] == ["Kilobytes", "Percent", "celsius"]
    with pytest.raises(MetricsCacheValueError):
        store.add_time("Took", 1, unit="h")
    with pytest.raises(MetricsCacheValueError):
        store.add_size("Size", 1, unit="TB")


@pytest.fixture
def worker():
    """The records of a worker; afterwards this process is none again."""
    records = []
    set_default_sink(records.append)
    yield records
    set_default_sink(print_record)


def test_in_a_worker_emitted_metrics_are_sent(worker, capsys):
    store = MetricsStore({0: "r1"}, "m")
    store.add_counter("Seen", 2, 0)
    store.add_time("Took", 1.5, 0)

    emit_metrics(store.store)

    pairs = ["ModelName", "m", "Level", "Model"]
    assert [record[:6] for record in worker] == [
        ("Seen", "Count", "COUNTER", 2.0, pairs, "r1"),
        ("Took", "Milliseconds", "GAUGE", 1.5, pairs, "r1"),
    ]
    assert capsys.readouterr().out == ""


def test_in_a_worker_a_cache_of_the_handlers_own_reports_like_the_contexts(worker):
    MetricsCache("", "m").add_counter("Seen", 1)

    assert [record.name for record in worker] == ["Seen"]


def test_emitted_metrics_are_lines_on_standard_output(capsys):
    emit_metrics([Metric("A", 1, "ms", []), Metric("B", 1, "ms", [])])

    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == ["[METRICS]A.", "[METRICS]B."]
