"""``metrics.yaml``: what counts, and what is wrong with it."""

from __future__ import annotations

import pytest

from tsl.frontend.metrics.definitions import built_in, load_definitions

FULL = """
dimensions:
  - &model_name "ModelName"
  - &level "Level"
  - &host "Hostname"
ts_metrics:
  counter:
    - {name: Requests2XX, unit: Count, dimensions: [*level, *host]}
  gauge:
    - {name: QueueTime, unit: ms, dimensions: [Ebene, Rechner]}
    - {name: DiskUsage, unit: Gigabytes, dimensions: [*level, *host]}
    - {name: RoomTemperature, unit: Celsius, dimensions: [Room, *host]}
model_metrics:
  gauge:
    - {name: HandlerTime, unit: ms, dimensions: [*model_name, *level]}
  histogram:
    - {name: Loose, unit: Count}
"""


@pytest.fixture
def load(tmp_path):
    def make(text):
        path = tmp_path / "metrics.yaml"
        path.write_text(text)
        return load_definitions(path)

    return make


def test_without_a_file_there_is_the_default_set():
    found = load_definitions(None)

    assert found == built_in()
    assert len(found.server) == 19
    assert found.server["WorkerLoadTime"].dimensions == ("WorkerName", "Level", "Hostname")
    assert found.model["PredictionTime"].unit == "ms"


def test_only_what_the_file_names_exists_under_its_names_and_units(load):
    found = load(FULL)

    assert found.problems == ()
    assert list(found.server) == ["Requests2XX", "QueueTime", "DiskUsage", "RoomTemperature"]
    assert found.server["QueueTime"].dimensions == ("Ebene", "Rechner")
    assert found.server["QueueTime"].unit == "ms"
    assert list(found.model) == ["HandlerTime", "Loose"]


def test_the_hosts_name_is_added_to_models_metrics_only(load):
    found = load(FULL)

    assert found.model["HandlerTime"].dimensions == ("ModelName", "Level", "Hostname")
    assert found.model["Loose"].dimensions == ("Hostname",)
    assert found.server["DiskUsage"].dimensions == ("Level", "Hostname")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("gauge: [{name: A}]", "without a name or unit"),
        ("gauge: [{name: '', unit: x}]", "without a name or unit"),
        ("gauge: [3]", "without a name or unit"),
        ("gauge: [{name: A, unit: x, dimensions: z}]", "must be a list of names"),
        ("gauge: [{name: A, unit: x, dimensions: [z, z]}]", "a dimension twice"),
        ("gauge: [{name: A, unit: x}]", "lacks the dimension of the host"),
        ("gauge: {name: A}", "gauge must be a list"),
        ("timer: []", "'timer' is none of counter, gauge, histogram"),
        ("gauge: [{name: QueueTime, unit: ms, dimensions: [Hostname]}]", "has 2 dimensions"),
    ],
)
def test_a_wrong_entry_is_reported_and_costs_nothing_else(load, section, said):
    good = "counter: [{name: Requests2XX, unit: Count, dimensions: [Level, Hostname]}]"

    found = load(f"ts_metrics:\n  {good}\n  {section}\n")

    assert list(found.server) == ["Requests2XX"]
    (problem,) = found.problems
    assert problem.startswith("Failed to load metrics configuration: ")
    assert said in problem


def test_a_name_in_both_sections_counts_once(load):
    entry = "{gauge: [{name: A, unit: x, dimensions: [Hostname]}]}"

    found = load(f"ts_metrics: {entry}\nmodel_metrics: {entry}\n")

    assert (list(found.server), list(found.model)) == (["A"], [])
    assert "A is defined twice" in found.problems[0]


@pytest.mark.parametrize(
    "text",
    ["a: [", "", "[]", "other: {}", "\x00"],
    ids=["no YAML", "empty", "no mapping", "no section", "binary"],
)
def test_a_file_that_cannot_be_used_means_the_default_set_and_an_error(load, text):
    found = load(text)

    assert not found.is_usable
    assert (found.server, found.model) == (built_in().server, built_in().model)
    assert "the built-in one is used" in found.problems[0]


def test_a_file_that_is_not_there_means_the_same(tmp_path):
    found = load_definitions(tmp_path / "none.yaml")

    assert "No such file" in found.problems[0]
    assert not found.is_usable


def test_no_file_is_too_large_to_be_refused(load, monkeypatch):
    monkeypatch.setattr("tsl.frontend.metrics.definitions.MAX_FILE_BYTES", 10)

    assert "larger than 10 bytes" in load(FULL).problems[0]
