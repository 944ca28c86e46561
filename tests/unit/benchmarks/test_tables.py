import re

import pytest

from benchmarks import publish, results, tables
from benchmarks.plots import curves, is_curve
from benchmarks.results import Row
from benchmarks.scenarios.base import RATE, Column
from benchmarks.scenarios.registry import SCENARIOS


def document(**rates):
    """One row for each server, at 64 clients."""
    rows = [
        {
            "peer": peer,
            "at": 64,
            "values": {"rate": list(values), "p50_us": [1500.0] * len(values)},
            "errors": 0,
            "run": 0,
        }
        for peer, values in rates.items()
    ]
    run = {
        "machine": {"cpu": "a processor", "cores": 2, "kernel": "6.1"},
        "versions": {"commit": "abc", "python": "3.11.7"},
        "settings": {"rounds": 3, "seconds": 1.0},
        "measured_at": "2026-01-01T00:00:00+00:00",
        "peers": {"tsl": "0.1", "mosec": ""},
        "failed": {},
    }
    return {"runs": [run], "rows": rows}


def cells(table, server):
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {server}")]
    heads = [head.strip() for head in table.splitlines()[0].split("|")[1:-1]]
    return dict(zip(heads, (cell.strip() for cell in line.split("|")[1:-1]), strict=True))


def test_a_row_has_median_and_spread():
    table = tables.scenario_table(SCENARIOS["echo-b1"], document(tsl=[10_000.0, 12_000.0, 9_000.0]))

    found = cells(table, "tsl")
    assert found["requests/s"] == "10,000"
    assert found["min–max"] == "9,000–12,000"
    assert found["p50 ms"] == "1.50"
    assert found["errors"] == "0"


def test_shares_are_medians_of_the_ratios_of_rounds():
    """A round in which everything was slow must not count for one side only."""
    table = tables.scenario_table(
        SCENARIOS["echo-b1"],
        document(ceiling=[100.0, 10.0, 100.0], tsl=[50.0, 5.0, 50.0], mosec=[25.0, 2.5, 20.0]),
    )

    assert cells(table, "tsl")["of ceiling"] == "0.50"
    assert cells(table, "mosec")["of tsl"] == "0.50"
    assert cells(table, "ceiling")["of ceiling"] == ""


def test_servers_stand_in_the_same_order_in_every_table():
    table = tables.scenario_table(
        SCENARIOS["echo-b1"], document(mosec=[1.0], tsl=[1.0], ceiling=[1.0])
    )

    assert re.findall(r"^\| (\w+)", table, re.MULTILINE)[1:] == ["ceiling", "tsl", "mosec"]


def test_a_row_with_errors_says_that_it_is_invalid():
    kept = document(tsl=[1.0])
    kept["rows"][0]["errors"] = 7

    table = tables.scenario_table(SCENARIOS["echo-b1"], kept)

    assert cells(table, "tsl")["errors"] == "INVALID: 7"


def test_a_metric_that_was_not_measured_is_a_dash():
    assert tables.cell({}, RATE) == "–"
    assert tables.spread({}, RATE) == "–"
    assert tables.share(None, [1.0]) == "–"


def test_a_column_converts_units():
    assert tables.cell({"p50_us": [2500.0]}, Column("p50_us", "p50 ms", 2, 1e-3)) == "2.50"


def test_the_ceiling_of_a_model_is_a_plain_loop():
    assert "plain loop" in tables.title("ceiling", SCENARIOS["classify-b8"])
    assert "httptools" in tables.title("ceiling", SCENARIOS["echo-b1"])


def test_the_origin_of_a_table_names_commit_versions_and_failures():
    kept = document(tsl=[1.0])
    kept["runs"][0]["failed"] = {"ray": "does not start\nTraceback"}

    text = tables.provenance(kept)

    assert "Commit `abc`" in text
    assert "tsl 0.1" in text
    assert "mosec" not in text
    assert text.endswith("Ray Serve could not be measured: does not start")


def test_places_of_a_page_are_filled_and_the_rest_stays(tmp_path):
    results.write(tmp_path, "echo-b1", document(tsl=[10.0]))
    page = "before\n<!-- table: echo-b1 -->\nold\n<!-- end -->\nbetween\n<!-- table: open -->\n<!-- end -->\n"

    filled = publish.fill(page, tmp_path)

    assert filled.startswith("before\n<!-- table: echo-b1 -->\n\n| server")
    assert "old" not in filled
    assert "<!-- end -->\nbetween\n" in filled
    assert "Not measured yet." in filled
    assert publish.fill(filled, tmp_path) == filled


def test_a_place_for_an_unknown_scenario_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no scenario 'echo'"):
        publish.fill("<!-- table: echo -->\n<!-- end -->", tmp_path)


def test_a_curve_is_shown_as_soon_as_there_are_points_for_it(tmp_path):
    page = "<!-- curve: workers -->\n<!-- end -->"
    assert "Not drawn yet" in publish.fill(page, tmp_path)
    rows = [Row("tsl", at) for at in (1, 2, 4)]
    for row in rows:
        row.add({"rate": 5.0})
    results.write(tmp_path, "workers", results.merge({}, {}, rows[:2]))
    assert "Not drawn yet" in publish.fill(page, tmp_path)

    results.write(tmp_path, "workers", results.merge({}, {}, rows))

    filled = publish.fill(page, tmp_path)
    assert "\n![Workers of an echo, 64 clients, batch size 1](workers.svg)\n" in filled
    assert publish.fill(filled, tmp_path) == filled


def test_the_published_page_is_what_the_published_numbers_make():
    page = publish.PAGE.read_text(encoding="utf-8")

    assert publish.fill(page, publish.DATA) == page


def test_a_curve_needs_three_points_and_leaves_out_rows_with_errors():
    kept = document(tsl=[10.0, 30.0, 20.0])
    template = kept["rows"][0]
    kept["rows"] = [{**template, "at": at} for at in (4, 1, 2)]
    kept["rows"].append({**template, "at": 8, "errors": 1})

    assert not is_curve(document(tsl=[1.0]))
    assert is_curve(kept)
    assert curves(kept, "rate", 2.0) == {
        "tsl": [(1, 40.0, 20.0, 60.0), (2, 40.0, 20.0, 60.0), (4, 40.0, 20.0, 60.0)]
    }
