"""Marks in front of what workers print."""

import pytest

from tsl.protocol.output_marks import looks_marked, mark, split_mark


@pytest.mark.parametrize("ids", ["a", "a,b", ""])
@pytest.mark.parametrize("line", [b"", b"text", b"\x1e\x1f", b"a\x1fb"])
def test_a_mark_comes_off_as_it_was_put_on(ids, line):
    assert looks_marked(mark(ids) + line)
    assert split_mark(mark(ids) + line) == (ids, line)


@pytest.mark.parametrize("line", [b"", b"text", b"a\x1eb\x1f", b"\x1f", b"\x1ewithout an end"])
def test_a_line_without_a_mark_stays_as_it_is(line):
    assert split_mark(line) == ("", line)
