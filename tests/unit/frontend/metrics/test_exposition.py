"""The page, character by character."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tsl.frontend.metrics.definitions import Definition
from tsl.frontend.metrics.doubles import double_text
from tsl.frontend.metrics.exposition import render
from tsl.frontend.metrics.families import NULL, Family


@pytest.fixture
def requests():
    family = Family(Definition("Requests2XX", "counter", "Count", ("Level", "Hostname")))
    family.child(("Host", "vm")).update(17)
    return family


@pytest.fixture
def sizes():
    family = Family(Definition("Sizes", "histogram", "MB", ("b", "a")), bounds=(0.5, 1, 10))
    for value in (0.1, 0.5, 2, 1000):
        family.child(("x", "y")).update(value)
    return family


def test_a_counter_keeps_its_name_and_the_order_of_its_labels(requests):
    assert render([requests.collect()]).decode() == (
        "# HELP Requests2XX Torchserve prometheus counter metric with unit: Count\n"
        "# TYPE Requests2XX counter\n"
        'Requests2XX{Level="Host",Hostname="vm",} 17.0\n'
    )


def test_a_histogram_is_cumulative(sizes):
    assert render([sizes.collect()]).decode().splitlines()[1:] == [
        "# TYPE Sizes histogram",
        'Sizes_bucket{b="x",a="y",le="0.5",} 2.0',
        'Sizes_bucket{b="x",a="y",le="1.0",} 2.0',
        'Sizes_bucket{b="x",a="y",le="10.0",} 3.0',
        'Sizes_bucket{b="x",a="y",le="+Inf",} 4.0',
        'Sizes_count{b="x",a="y",} 4.0',
        'Sizes_sum{b="x",a="y",} 1002.6',
    ]


def test_a_family_without_samples_still_explains_itself():
    family = Family(Definition("Empty", "gauge", "Count", ()))

    assert b"# TYPE Empty gauge\n" in render([family.collect()])


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["Requests2XX"], ["Requests2XX"]),
        (["Sizes_sum", "Sizes_count"], ["Sizes_count", "Sizes_sum"]),
        (["Sizes"], ["Sizes_bucket"] * 4 + ["Sizes_count", "Sizes_sum"]),
        (["Requests"], []),
    ],
)
def test_names_restrict_the_page_exactly(requests, sizes, names, shown):
    text = render([requests.collect(), sizes.collect()], names).decode()

    samples = [line.partition("{")[0] for line in text.splitlines() if line[0] != "#"]
    assert samples == shown
    assert bool(text) == bool(shown)


def test_a_declared_family_without_samples_is_no_match():
    family = Family(Definition("Empty", "gauge", "Count", ()))

    assert render([family.collect()], ["Empty"]) == b""


def test_values_of_labels_are_escaped():
    nasty = 'a"b\\c\nd}'
    family = Family(Definition("m", "gauge", "Count", ("l",)))
    family.child((nasty,)).update(1)

    text = render([family.collect()]).decode()

    assert 'l="a\\"b\\\\c\\nd}"' in text
    (parsed,) = text_string_to_metric_families(text)
    assert parsed.samples[0].labels == {"l": nasty}


def test_gauges_keep_the_last_value():
    family = Family(Definition("g", "gauge", "Count", ()))
    for value in (3, 2.5):
        family.child(()).update(value)

    assert render([family.collect()]).endswith(b"\ng 2.5\n")


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_a_series_is_shown_from_its_first_update_on_even_by_nothing(kind):
    family = Family(Definition("m", kind, "Count", ("l",)))
    child = family.child(("x",))
    assert family.collect().samples == []

    child.update(0)

    assert family.collect().samples[-1].value == 0


def test_gauges_may_be_negative():
    family = Family(Definition("g", "gauge", "Count", ()))
    family.child(()).update(-2)

    assert render([family.collect()]).endswith(b"\ng -2.0\n")


def test_combinations_of_label_values_are_bounded(caplog):
    family = Family(Definition("g", "gauge", "Count", ("l",)))
    for number in range(1000):
        assert family.child((str(number),)) is not NULL

    assert family.child(("one more",)) is NULL
    assert family.child(("another",)) is NULL

    assert family.child(("999",)) is not NULL
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0"), (17, "17.0"), (0.06, "0.06"), (9_999_999, "9999999.0"), (1e7, "1.0E7"),
        (12_345_678, "1.2345678E7"), (0.001, "0.001"), (1e-4, "1.0E-4"), (-2.5e9, "-2.5E9"),
        (1e22, "1.0E22"), (123456789.125, "1.23456789125E8"),
        (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_java_writes_them(value, text):
    assert double_text(value) == text
    if not math.isnan(value):
        assert float(text) == value
