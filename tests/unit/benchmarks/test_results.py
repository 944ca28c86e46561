from benchmarks import results
from benchmarks.results import Row

RUN = {"settings": {"rounds": 2}, "failed": {}}


def row(peer, at, *rates):
    made = Row(peer, at)
    for rate in rates:
        made.add({"rate": rate})
    return made


def test_rounds_are_kept_one_by_one():
    made = Row("tsl", 64)

    made.add({"rate": 10.0, "p50_us": 1.0})
    made.add({"rate": 12.0, "p50_us": 2.0}, errors=3)

    assert made.values == {"rate": [10.0, 12.0], "p50_us": [1.0, 2.0]}
    assert made.errors == 3


def test_a_new_run_replaces_only_what_it_has_measured():
    first = results.merge({}, {**RUN, "name": "first"}, [row("tsl", 1, 10.0), row("mosec", 1, 5.0)])

    second = results.merge(first, {**RUN, "name": "second"}, [row("tsl", 1, 20.0)])

    rates = {each["peer"]: each["values"]["rate"] for each in second["rows"]}
    runs = {each["peer"]: second["runs"][each["run"]]["name"] for each in second["rows"]}
    assert rates == {"tsl": [20.0], "mosec": [5.0]}
    assert runs == {"tsl": "second", "mosec": "first"}


def test_a_run_without_rows_left_is_forgotten():
    first = results.merge({}, {**RUN, "name": "first"}, [row("tsl", 1, 10.0)])

    second = results.merge(first, {**RUN, "name": "second"}, [row("tsl", 1, 20.0)])

    assert [run["name"] for run in second["runs"]] == ["second"]
    assert second["rows"][0]["run"] == 0


def test_what_is_written_can_be_read_rounded_to_six_digits(tmp_path):
    document = results.merge({}, RUN, [row("tsl", 64, 12345.6789)])

    results.write(tmp_path / "new", "echo-b1", document)

    found = results.read(tmp_path / "new", "echo-b1")
    assert found["rows"][0]["values"]["rate"] == [12345.7]
    assert results.read(tmp_path, "echo-b1") == {}
