from __future__ import annotations

import pytest

from tsl.frontend.http_api.sse import encode_event, is_wanted


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (b"text/event-stream", True),
        (b" Text/Event-Stream ", True),
        (b"text/event-stream;q=0.9, */*", True),
        (b"text/event-stream, application/json", True),
        (b"application/json, text/event-stream", False),
        (b"*/*", False),
        (b"text/*", False),
        (b"", False),
        (b"text/event-streams", False),
    ],
)
def test_events_are_for_those_who_ask_for_them_first(accept, wanted):
    assert is_wanted(accept) is wanted


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"a", b"data: a\n\n"),
        (b"", b"data: \n\n"),
        (b"a\nb", b"data: a\ndata: b\n\n"),
        (b"a\r\nb\rc", b"data: a\ndata: b\ndata: c\n\n"),
        (b"a\n", b"data: a\ndata: \n\n"),
        (b"\n\nevent: x", b"data: \ndata: \ndata: event: x\n\n"),
        (memoryview(b"a"), b"data: a\n\n"),
        ("☃".encode(), "data: ☃\n\n".encode()),
    ],
)
def test_each_line_of_the_data_is_a_line_of_the_event(data, event):
    assert encode_event(data) == event


def test_an_event_may_have_a_type():
    assert encode_event(b"a", "error") == b"event: error\ndata: a\n\n"
