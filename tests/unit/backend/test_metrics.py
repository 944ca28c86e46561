"""The metrics that handlers record through ``context.metrics``."""

from __future__ import annotations

import pytest

from tsl.backend.metrics import (
    Dimension,
    MetricsCache,
    MetricsCacheIOError,
    MetricsCacheKeyError,
    MetricsCachePyYamlError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
    MetricTypes,
    Units,
)


@pytest.fixture
def records():
    return []


@pytest.fixture
def metrics(records):
    cache = MetricsCache.from_config("", "resnet", records.append)
    cache.set_request_ids("id-0,id-1")
    return cache


def _config(tmp_path, text):
    path = tmp_path / "metrics.yaml"
    path.write_text(text)
    return str(path)


def test_built_in_set_has_handler_and_prediction_time(metrics):
    assert set(metrics.cache[MetricTypes.GAUGE]) == {"HandlerTime", "PredictionTime"}


def test_update_carries_name_unit_kind_dimensions_and_ids(metrics, records):
    metrics.add_time("PredictionTime", 1.25, None, "ms")

    (record,) = records
    assert record[:6] == (
        "PredictionTime",
        "Milliseconds",
        "GAUGE",
        1.25,
        ["ModelName", "resnet", "Level", "Model"],
        "id-0,id-1",
    )
    assert record.timestamp > 1_600_000_000


@pytest.mark.parametrize(
    ("method", "arguments", "unit", "kind"),
    [
        pytest.param("add_counter", ("N", 1), "Count", "COUNTER", id="counter"),
        pytest.param("add_time", ("N", 1), "Milliseconds", "GAUGE", id="time"),
        pytest.param("add_size", ("N", 1), "Megabytes", "GAUGE", id="size"),
        pytest.param("add_percent", ("N", 1), "Percent", "GAUGE", id="percent"),
        pytest.param("add_error", ("N", 1), "unit", "COUNTER", id="error"),
        pytest.param("add_metric", ("N", 1, "celsius"), "celsius", "COUNTER", id="any"),
        pytest.param(
            "add_metric",
            ("N", 1, "x", None, [], MetricTypes.HISTOGRAM),
            "x",
            "HISTOGRAM",
            id="histogram",
        ),
    ],
)
def test_defaults_of_each_method(metrics, records, method, arguments, unit, kind):
    getattr(metrics, method)(*arguments)

    assert (records[0].unit, records[0].kind) == (unit, kind)


def test_caller_dimensions_come_first_and_their_list_is_not_changed(metrics, records):
    mine = [Dimension("Digit", "7")]

    metrics.add_counter("Seen", 1, dimensions=mine)

    assert records[0].dimensions == ["Digit", "7", "ModelName", "resnet", "Level", "Model"]
    assert len(mine) == 1


def test_dimensions_do_not_leak_from_call_to_call(metrics, records):
    metrics.add_counter("A", 1, dimensions=[Dimension("Digit", "7")])
    metrics.add_counter("B", 1)

    assert records[1].dimensions == ["ModelName", "resnet", "Level", "Model"]


def test_dimensions_given_by_the_caller_are_not_repeated(metrics, records):
    metrics.add_counter("A", 1, dimensions=[Dimension("Level", "Host")])

    assert records[0].dimensions == ["Level", "Host", "ModelName", "resnet"]


def test_level_is_error_without_request_or_for_errors(metrics, records):
    metrics.add_error("Broken", 1)
    metrics.set_request_ids(None)
    metrics.add_counter("Loaded", 1)

    assert "Error" in records[0].dimensions
    assert records[1].dimensions[-1] == "Error"
    assert records[1].request_ids == ""


@pytest.mark.parametrize(
    ("ids", "idx", "expected"),
    [
        ("a,b", None, "a,b"),
        ("a,b", 1, "b"),
        ("a,b", 7, "a,b"),
        ({0: "a", 1: "b"}, 0, "a"),
        ({0: "a", 1: "b"}, None, "a,b"),
    ],
)
def test_request_ids_by_batch_index(metrics, records, ids, idx, expected):
    metrics.set_request_ids(ids)

    metrics.add_counter("A", 1, idx)

    assert records[0].request_ids == expected


@pytest.mark.parametrize(("method", "unit"), [("add_time", "minutes"), ("add_size", "TB")])
def test_unknown_units_are_refused(metrics, method, unit):
    with pytest.raises(MetricsCacheValueError, match=unit):
        getattr(metrics, method)("N", 1, None, unit)


def test_wrong_types_are_refused(metrics):
    with pytest.raises(MetricsCacheTypeError, match="name"):
        metrics.add_metric(5, 1, "ms")
    with pytest.raises(MetricsCacheTypeError, match="metric_type"):
        metrics.add_metric_to_cache("N", "ms", [], "gauge")
    with pytest.raises(MetricsCacheTypeError, match="dimension_names"):
        metrics.add_metric_to_cache("N", "ms", "ModelName")


def test_declared_metric_is_found_by_name_and_kind(metrics, records):
    declared = metrics.add_metric_to_cache("Size", "kB", ["Part"], MetricTypes.HISTOGRAM)

    found = metrics.get_metric("Size", MetricTypes.HISTOGRAM)
    found.add_or_update(2.5, ["head"], "id-1")

    assert found is declared
    assert records[0][:6] == (
        "Size", "Kilobytes", "HISTOGRAM", 2.5, ["Part", "head"], "id-1",
    )  # fmt: skip


def test_metric_of_another_kind_is_not_found(metrics):
    with pytest.raises(MetricsCacheKeyError, match="HandlerTime"):
        metrics.get_metric("HandlerTime")


def test_declaring_twice_replaces_with_a_warning(metrics, caplog):
    first = metrics.add_metric_to_cache("Twice", "ms")
    second = metrics.add_metric_to_cache("Twice", "ms")

    assert metrics.get_metric("Twice") is second is not first
    assert "Twice" in caplog.text


@pytest.mark.parametrize(
    ("value", "dimensions"),
    [
        pytest.param(-1, (), id="negative-counter"),
        pytest.param("many", (), id="no-number"),
        pytest.param(None, (), id="none"),
        pytest.param(1, ("too", "many"), id="dimension-count"),
    ],
)
def test_updates_that_do_not_fit_are_logged_and_dropped(
    metrics, records, caplog, value, dimensions
):
    metrics.add_metric_to_cache("C", "count").add_or_update(value, dimensions)

    assert records == []
    assert "C is not updated" in caplog.text
    assert "[METRICS]" not in caplog.text


def test_legacy_update_brings_its_own_dimension_names(metrics, records):
    metric = metrics.add_metric_to_cache("C", "count", ["Old"])

    metric.update(1, "id-0", [Dimension("New", "x")])

    assert records[0].dimensions == ["New", "x"]


def test_without_a_sink_updates_are_printed_as_metric_lines(capsys):
    metrics = MetricsCache.from_config("", "m")
    metrics.set_request_ids("id-0")

    metrics.add_time("HandlerTime", 1.5)

    out = capsys.readouterr().out
    assert out.startswith(
        "[METRICS]HandlerTime.Milliseconds:1.5|#ModelName:m,Level:Model|#type:GAUGE|#hostname:"
    )
    assert out.endswith(",id-0\n")


def test_config_file_declares_metrics(tmp_path, records):
    path = _config(
        tmp_path,
        "dimensions: [&d ModelName]\n"
        "model_metrics:\n"
        "  counter: [{name: Hits, unit: count, dimensions: [*d, Level]}]\n"
        "  histogram:\n"
        "  gauge: [{name: Heat, unit: celsius, dimensions: []}]\n",
    )

    metrics = MetricsCache.from_config(path, "m", records.append)

    assert metrics.get_metric("Hits").dimension_names == ["ModelName", "Level"]
    assert metrics.get_metric("Heat", MetricTypes.GAUGE).unit == "celsius"
    assert set(metrics.cache_keys()) == {MetricTypes.COUNTER, MetricTypes.GAUGE}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("a: [", MetricsCachePyYamlError, id="no-yaml"),
        pytest.param("ts_metrics: {}", MetricsCacheKeyError, id="no-section"),
        pytest.param("model_metrics:", MetricsCacheKeyError, id="empty-section"),
        pytest.param("model_metrics: {timer: []}", MetricsCacheKeyError, id="unknown-kind"),
        pytest.param("model_metrics: {gauge: [{name: x}]}", MetricsCacheKeyError, id="no-unit"),
        pytest.param("model_metrics: {gauge: [x]}", MetricsCacheKeyError, id="no-mapping"),
        pytest.param(
            "model_metrics: {gauge: [{name: x, unit: y, dimensions: z}]}",
            MetricsCacheKeyError,
            id="dimensions-no-list",
        ),
    ],
)
def test_unusable_config_files_are_refused(tmp_path, text, error):
    with pytest.raises(error, match=r"model_metrics|YAML|dimensions"):
        MetricsCache.from_config(_config(tmp_path, text), "m")


def test_a_worker_leaves_wrong_entries_out(tmp_path, caplog):
    """The front end does the same, so that one typing error does not stop a model."""
    path = _config(
        tmp_path,
        "model_metrics:\n"
        "  timer: [{name: a, unit: b}]\n"
        "  counter: [{name: Hits, unit: count}, {name: x}]\n"
        "  gauge:\n",
    )

    metrics = MetricsCache.from_config(path, "m", tolerant=True)

    assert set(metrics.cache[MetricTypes.COUNTER]) == {"Hits"}
    assert "no kind 'timer'" in caplog.text
    assert "needs a name and a unit" in caplog.text


def test_missing_config_file_is_an_io_error(tmp_path):
    with pytest.raises(MetricsCacheIOError, match="cannot be read"):
        MetricsCache.from_config(str(tmp_path / "none.yaml"), "m")


def test_units_table_names_short_units():
    assert Units().units["kB"] == "Kilobytes"
    assert Units().units[None] == "unit"
