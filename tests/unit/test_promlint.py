"""The checks of metrics pages find what they are for."""

import pytest
from prometheus_client.metrics_core import Metric
from promlint import check_page, lint


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("tsl_things", "counter", "_total"),
        ("tsl_things_total", "gauge", "only a counter"),
        ("tsl_things_count", "gauge", "suffix"),
        ("tsl_wait_ms", "gauge", "base unit"),
        ("tsl_size_kilobytes", "gauge", "base unit"),
        ("tsl_wait_histogram", "histogram", "type"),
        ("tslThings", "gauge", "snake"),
    ],
)
def test_bad_names_are_found(name, kind, problem):
    family = Metric(name, "Help.", kind)
    family.samples = []
    family.add_sample(name, {}, 1)

    assert any(problem in each for each in lint(family))


def test_a_label_s_name_and_a_missing_help_are_found():
    family = Metric("tsl_things", "", "gauge")
    family.add_sample("tsl_things", {"modelName": "x", "le": "1"}, 1)

    assert len(lint(family)) == 3


def test_a_good_one_is_not_complained_about():
    family = Metric("tsl_wait_seconds", "Help.", "gauge")
    family.add_sample("tsl_wait_seconds", {"model_name": "x"}, 1)

    assert lint(family) == []


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n# TYPE a gauge\na 2\n", "twice"),
        ("# TYPE a gauge\n# HELP a A.\na 1\n", "before"),
        ("# HELP a A.\n# TYPE a gauge\nb 1\n", "below"),
        ("# HELP a A.\n# TYPE a gauge\na 1\na 2\n", "twice"),
        ("# HELP a A.\n# TYPE a gauge\na 1", "no end"),
        (
            '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\n'
            "a_count 1\na_sum 1\n",
            "order",
        ),
        ('# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\na_count 3\na_sum 1\n', "count"),
    ],
)
def test_a_page_that_is_not_whole_is_found(page, problem):
    assert any(problem in each for each in check_page(page)[1])
