from __future__ import annotations

import json

import pytest

from tsl.frontend.http_api.messages import handler_headers, json_body, status_line


@pytest.mark.parametrize(
    ("status", "phrase", "line"),
    [
        (200, "", b"HTTP/1.1 200 OK\r\n"),
        (418, "", b"HTTP/1.1 418 I'm a Teapot\r\n"),
        (299, "", b"HTTP/1.1 299 Success (299)\r\n"),
        (599, "", b"HTTP/1.1 599 Server Error (599)\r\n"),
        (200, "Fine by me", b"HTTP/1.1 200 Fine by me\r\n"),
        (200, "a\tb", b"HTTP/1.1 200 a\tb\r\n"),
        (200, "a\r\nb", b"HTTP/1.1 200 a  b\r\n"),
        (200, "é☃", b"HTTP/1.1 200 \xe9?\r\n"),
    ],
)
def test_status_lines(status, phrase, line):
    assert status_line(status, phrase) == line


@pytest.mark.parametrize(
    ("pairs", "lines"),
    [
        ([], b""),
        (["X-A", "1", "x-b", ""], b"X-A: 1\r\nx-b: \r\n"),
        (["X-A", "1", "X-B", "2", "x-a", "3"], b"x-a: 3\r\nX-B: 2\r\n"),
        (["X-A", "a\tb c"], b"X-A: a\tb c\r\n"),
        (["X-A", "é", "X-B", "☃"], b"X-A: \xe9\r\nX-B: \xe2\x98\x83\r\n"),
        (["X-A", "\ud800"], b"X-A: ?\r\n"),
        (["Date", "now", "X-A", "1"], b"X-A: 1\r\n"),
        (["X-A", "1\r\nX-B: 2"], b""),
        (["X A", "1", "X:A", "1", "", "1", "é", "1"], b""),
    ],
)
def test_header_lines_of_a_handler(pairs, lines):
    assert handler_headers(pairs)[0] == lines


def test_the_names_are_those_of_the_lines_in_lower_case():
    assert handler_headers(["X-A", "1", "Date", "now", "X B", "2"])[1] == {"x-a"}


def test_json_is_indented_and_ends_with_a_line():
    assert json_body({"a": ["é"]}) == '{\n  "a": [\n    "é"\n  ]\n}\n'.encode()


def test_json_of_half_a_surrogate_pair_is_text_all_the_same():
    """A percent-decoded or handler-made text may hold one; the answer must not fail for it."""
    assert json.loads(json_body({"a": "\ud800"}))
