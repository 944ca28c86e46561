"""What a handler gets for each kind of request."""

import pytest

from tsl.backend.rows import RequestRow, decode_row
from tsl.protocol.frames import Part, Row


def row_of(*parts):
    return Row("id", [], [], [Part(name, kind, memoryview(body)) for name, kind, body in parts])


def test_a_request_without_parts_is_an_empty_row():
    assert decode_row(row_of()) == {}


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("", b"raw", bytearray(b"raw")),
        ("", b"", bytearray()),
        ("application/json", b'{"a": [1]}', {"a": [1]}),
        ("Application/JSON", b"[1, 2]", [1, 2]),
        ("application/json", b"{broken", bytearray(b"{broken")),
        ("application/json", b"\xff", bytearray(b"\xff")),
        ("application/json", b"[" * 100_000, bytearray(b"[" * 100_000)),
        ("application/json-seq", b"1", bytearray(b"1")),
        ("text/plain", "grün".encode(), "grün"),
        ("TEXT/csv", b"a,b", "a,b"),
        ("text/plain", b"\xff", bytearray(b"\xff")),
        ("image/png", b"\x89", bytearray(b"\x89")),
    ],
    ids=[
        "no-type",
        "no-type-empty",
        "json",
        "json-in-capitals",
        "broken-json",
        "json-not-utf8",
        "json-too-deep",
        "only-exactly-json",
        "text",
        "text-in-capitals",
        "text-not-utf8",
        "binary",
    ],
)
def test_content_type_decides_the_type_of_a_value(content_type, body, expected):
    value = decode_row(row_of(("body", content_type, body)))["body"]

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("count", [1, 2], ids=["one-part", "two-parts"])
def test_without_decoding_every_value_is_a_bytearray(count):
    parts = [(f"p{n}", "application/json", b"1") for n in range(count)]

    row = decode_row(row_of(*parts), decode_input=False)

    assert row == {f"p{n}": bytearray(b"1") for n in range(count)}
    assert all(type(value) is bytearray for value in row.values())


def test_a_value_that_cannot_be_decoded_is_logged(caplog):
    decode_row(row_of(("data", "application/json", b"no")))

    assert "'data' is not the application/json it claims to be" in caplog.text


def test_of_a_repeated_name_the_last_value_counts_and_getlist_has_all():
    row = decode_row(
        row_of(("a", "", b"1"), ("b", "", b"2"), ("a", "text/x", b"3"), ("a", "", b"4"))
    )

    assert row == {"a": bytearray(b"4"), "b": bytearray(b"2")}
    assert row.getlist("a") == [bytearray(b"1"), "3", bytearray(b"4")]
    assert row.getlist("b") == [bytearray(b"2")]
    assert row.getlist("c") == []


def test_rows_do_not_share_repeated_values():
    decode_row(row_of(("a", "", b"1"), ("a", "", b"2")))

    assert RequestRow(a=3).getlist("a") == [3]


def test_a_row_is_a_dict():
    assert isinstance(decode_row(row_of(("body", "", b""))), dict)


def test_a_body_with_memory_of_its_own_is_handed_over():
    body = bytearray(b"data")

    assert decode_row(Row("r", [], [], [Part("body", "", body)]))["body"] is body
