from __future__ import annotations

import pytest

from tsl.frontend.parameters import boolean, lenient_int, page_of


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("-1", -1), ("x", 7), ("", 7), (None, 7)])
def test_what_is_no_number_counts_as_not_given(text, number):
    assert lenient_int({} if text is None else {"n": text}, "n", 7) == number


@pytest.mark.parametrize(("text", "value"), [("true", True), ("TRUE", True), ("1", False)])
def test_only_true_is_true(text, value):
    assert boolean(text) is value


@pytest.mark.parametrize(
    ("values", "items", "token"),
    [
        ({}, [0, 1, 2], None),
        ({"limit": "2"}, [0, 1], "2"),
        ({"limit": "2", "next_page_token": "2"}, [2], None),
        ({"limit": "3"}, [0, 1, 2], "3"),
        ({"limit": "3", "next_page_token": "3"}, [], None),
        ({"limit": "-1"}, [0, 1, 2], None),
        ({"limit": "101"}, [0, 1, 2], None),
        ({"limit": "0"}, [], "0"),
        ({"next_page_token": "-4"}, [0, 1, 2], None),
    ],
)
def test_lists_come_in_pages(values, items, token):
    assert page_of([0, 1, 2], values) == (items, token)
