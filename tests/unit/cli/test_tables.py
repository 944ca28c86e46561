"""Rows of text as aligned lines."""

from tsl.cli.tables import aligned


def test_columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks():
    assert aligned([("A", "B"), ("long", ""), ("x", "y")]) == ["A     B", "long", "x     y"]
