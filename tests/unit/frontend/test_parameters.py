from __future__ import annotations

import pytest

from tsl.frontend.parameters import boolean, int_within, lenient_int, page_of
from tsl.protocol.errors import InvalidParameter


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


@pytest.mark.parametrize(
    "text", ["", "many", "1.5", "1_000", "٣", " 5", "0x10", "2147483648", "-2147483649", "9" * 5000]
)
def test_what_is_no_number_of_32_bits_counts_as_not_given(text):
    assert lenient_int({"n": text}, "n", 7) == 7
    assert int_within({"n": text}, "n", minimum=1, maximum=9, unset=-1) is None


@pytest.mark.parametrize(
    ("text", "number"), [("5", 5), ("+5", 5), ("1", 1), ("9", 9), ("-1", None)]
)
def test_a_number_within_its_limits_is_taken(text, number):
    assert int_within({"n": text}, "n", minimum=1, maximum=9, unset=-1) == number
    assert int_within({}, "n", minimum=1, maximum=9, unset=-1) is None


@pytest.mark.parametrize("text", ["0", "10", "-2", "2147483647"])
def test_a_number_beyond_its_limits_is_refused_by_name(text):
    with pytest.raises(InvalidParameter, match=rf"Parameter n is {text}; .* from 1 to 9"):
        int_within({"n": text}, "n", minimum=1, maximum=9, unset=-1)
