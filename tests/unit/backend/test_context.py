"""What handlers can ask of the context, and what they can say with it."""

import threading

import pytest

from tsl.backend.context import Context, RequestProcessor
from tsl.backend.metrics import MetricsCache
from tsl.protocol.frames import Part, Row


class FakeLine:
    def __init__(self, *cancelled):
        self.cancelled = cancelled

    def is_cancelled(self, row):
        return row in self.cancelled


def make_context(**changes):
    values = {
        "model_name": "m",
        "model_dir": "/models/m",
        "manifest": {"model": {"modelName": "archived"}},
        "batch_size": 4,
        "gpu": None,
        "mms_version": "1.2",
    }
    return Context(**values | changes)


def make_row(headers=(), properties=(), parts=(("body", "", b"abc"),), request_id="r0"):
    return Row(request_id, list(headers), list(properties), [Part(*part) for part in parts])


def begin(*rows, line=None):
    context = make_context()
    context.begin_batch(list(rows), line or FakeLine())
    return context


# Around the model.


def test_system_properties_have_the_names_handlers_read():
    assert make_context(gpu=1).system_properties == {
        "model_dir": "/models/m",
        "gpu_id": 1,
        "batch_size": 4,
        "server_name": "MMS",
        "server_version": "1.2",
        "limit_max_image_pixels": True,
    }


def test_before_the_first_call_there_is_no_request():
    context = make_context()

    assert context.request_ids is None
    assert context.request_processor is None
    assert not hasattr(context, "cl_socket")
    assert context.stopping_criteria is None
    assert context.get_request_id() is None
    assert context.is_cancelled(0) is False


def test_setting_a_status_before_the_first_call_does_nothing():
    context = make_context()

    context.set_response_status(code=404)
    context.set_all_response_status(code=404)

    assert context.request_processor is None


def test_asking_for_a_header_before_the_first_call_says_what_is_wrong():
    with pytest.raises(TypeError, match="only during a call"):
        make_context().get_request_header(0, "Host")


def test_metrics_can_be_replaced():
    context = make_context(metrics="first")

    context.metrics = "second"

    assert context.metrics == "second"


def test_handlers_may_hang_attributes_on_it():
    context = begin(make_row())
    context.cache = {"a": 1}

    context.begin_batch([make_row()], FakeLine())

    assert context.cache == {"a": 1}


def test_contexts_are_equal_by_value():
    assert make_context() == make_context()
    assert make_context() != make_context(batch_size=5)
    assert make_context() != "context"


def test_sequence_header_names_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("TS_REQUEST_SEQUENCE_ID", "my-id")
    context = make_context()
    context.begin_batch([make_row([b"my-id", b"s1"])], FakeLine())

    assert context.get_sequence_id(0) == "s1"
    assert context.header_key_sequence_start == "ts_request_sequence_start"
    assert context.header_key_sequence_end == "ts_request_sequence_end"


# Requests.


def test_request_ids_are_numbered_by_row():
    context = begin(make_row(request_id="a"), make_row(request_id="b"))

    assert context.request_ids == {0: "a", 1: "b"}
    assert context.get_request_id(1) == "b"
    assert context.get_request_id(2) is None


def test_headers_keep_the_spelling_of_the_client():
    context = begin(make_row([b"x-MiXed", b"1"]))

    assert context.get_request_header(0, "x-MiXed") == "1"
    assert context.get_request_header(0, "x-mixed") is None


def test_header_names_are_parameters_then_headers_then_the_length_then_the_servers():
    row = make_row(
        [b"Host", b"h", b"Expect", b"100-continue", b"transfer-encoding", b"chunked"],
        ["explain", "False", "url_path", ""],
    )

    assert begin(row).get_all_request_header(0) == {
        "body": {"content-type": ""},
        "Host": "h",
        "content-length": "3",
        "explain": "False",
        "url_path": "",
    }


@pytest.mark.parametrize("name", [b"Content-Length", b"CONTENT-LENGTH"], ids=["usual", "capitals"])
def test_a_length_header_of_the_client_stays_the_only_one(name):
    header = begin(make_row([name, b"3"])).get_all_request_header(0)

    assert header == {"body": {"content-type": ""}, name.decode(): "3"}


def test_a_request_without_any_header_gets_no_length():
    assert begin(make_row()).get_all_request_header(0) == {"body": {"content-type": ""}}


def test_of_a_repeated_header_the_last_one_counts_and_the_server_overrides():
    row = make_row(
        [b"X", b"1", b"X", b"2", b"explain", b"True", b"body", b"mine"], ["explain", "False"]
    )
    context = begin(row)

    assert context.get_request_header(0, "X") == "2"
    assert context.get_request_header(0, "explain") == "False"
    assert context.get_request_header(0, "body") == "mine"


def test_header_values_are_latin_1():
    assert begin(make_row([b"X", b"\xe9"])).get_request_header(0, "X") == "é"


def test_changing_the_header_dict_lasts_for_the_call():
    context = begin(make_row([b"X", b"1"]))

    context.get_all_request_header(0)["X"] = "changed"

    assert context.get_request_header(0, "X") == "changed"


def test_cancelled_rows_are_asked_of_the_line():
    context = begin(make_row(), make_row(), line=FakeLine(1))

    assert [context.is_cancelled(0), context.is_cancelled(1)] == [False, True]


# Answers.


def test_without_a_word_of_the_handler_the_head_is_empty():
    context = begin(make_row())

    assert context.is_untouched
    assert context.reply_head(0) == (0, "", [])
    assert context.get_response_status(0) == (200, None)


def test_headers_set_at_once_are_there_whether_or_not_anybody_asks():
    headers = ["A", "1", "content-type", "text/csv"]
    context = begin(make_row(), make_row())

    context.set_answer_headers(1, headers)

    assert not context.is_untouched
    assert context.reply_head(0) == (0, "", [])
    assert context.reply_head(1) == (0, "", headers)
    assert context.get_response_headers(1) == {"A": "1", "content-type": "text/csv"}
    context.set_answer_headers(1, ["a", "2"])
    assert context.reply_head(1) == (0, "", ["a", "2", "content-type", "text/csv"])
    assert headers == ["A", "1", "content-type", "text/csv"]


def test_headers_are_those_of_one_batch():
    context = begin(make_row())
    context.set_answer_headers(0, ["a", "b"])
    context.end_batch()
    assert context.is_untouched


def test_status_phrase_and_headers_of_one_row():
    context = begin(make_row(), make_row())

    context.set_response_status(201, "Made", 1)
    context.set_response_header(1, "X-Made", "yes")
    context.set_response_content_type(1, "text/csv")

    assert context.reply_head(0) == (0, "", [])
    assert context.reply_head(1) == (201, "Made", ["X-Made", "yes", "content-type", "text/csv"])
    assert context.get_response_status(1) == (201, "Made")
    assert context.get_response_content_type(1) == "text/csv"
    assert context.get_response_headers(1) == {"X-Made": "yes", "content-type": "text/csv"}


def test_status_of_all_rows():
    context = begin(make_row(), make_row())

    context.set_all_response_status(503, "Busy")

    assert [context.get_response_status(row) for row in (0, 1)] == [(503, "Busy")] * 2


def test_of_two_spellings_of_a_header_the_later_one_is_sent():
    context = begin(make_row())

    context.set_response_header(0, "Content-Type", "text/html")
    context.set_response_content_type(0, "text/csv")

    assert context.reply_head(0) == (0, "", ["content-type", "text/csv"])


def test_header_values_become_text():
    context = begin(make_row())

    context.set_response_header(0, "X-Count", 3)

    assert context.reply_head(0) == (0, "", ["X-Count", "3"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\nb"),
        ("X", "a\0"),
        ("X", "\ud800"),
        ("X\r\nY", "a"),
        ("X Y", "a"),
        ("X:", "a"),
        ("", "a"),
        ("é", "a"),
    ],
    ids=["crlf", "lf", "nul", "surrogate", "name-crlf", "space", "colon", "empty", "non-ascii"],
)
def test_headers_that_would_break_the_message_are_refused(name, value):
    context = begin(make_row())

    with pytest.raises(ValueError, match=r"header|surrogate"):
        context.set_response_header(0, name, value)

    assert context.reply_head(0) == (0, "", [])


@pytest.mark.parametrize("code", [0, 100, 199, 600, 2**70, "many"], ids=str)
def test_what_is_no_status_is_refused(code):
    context = begin(make_row())

    with pytest.raises(ValueError, match=r"HTTP status|invalid literal"):
        context.set_response_status(code)


def test_a_phrase_with_a_line_break_is_refused_and_changes_nothing():
    context = begin(make_row())

    with pytest.raises(ValueError, match="reason phrase"):
        context.set_response_status(201, "a\nb")

    assert context.reply_head(0) == (0, "", [])


def test_nothing_of_an_answer_leaks_into_the_next_call():
    context = begin(make_row())
    context.set_response_status(404)
    context.end_batch()

    context.begin_batch([make_row()], FakeLine())

    assert context.reply_head(0) == (0, "", [])


def test_an_ended_batch_is_not_held():
    context = begin(make_row())
    context.get_all_request_header(0)

    context.end_batch()

    assert context.request_processor is None


def test_a_request_processor_can_be_made_of_a_plain_dict():
    processor = RequestProcessor({"a": "b"})

    processor.report_status(202)
    processor.add_response_property("X", "1")

    assert processor.get_request_property("a") == "b"
    assert processor.get_response_status_code() == 202
    assert processor.get_response_status_phrase() is None
    assert processor.get_response_header("X") == "1"


# Calls at the same time.


def test_each_call_has_its_own_request_and_answer():
    context = make_context()
    first, second = context.for_call(), context.for_call()

    first.begin_batch([make_row(request_id="a")], FakeLine())
    second.begin_batch([make_row(request_id="b")], FakeLine(0))
    first.set_response_header(0, "x", "y")

    assert (first.get_request_id(), second.get_request_id()) == ("a", "b")
    assert (first.is_cancelled(), second.is_cancelled()) == (False, True)
    assert second.get_response_headers(0) == {}
    assert context.request_ids is None


def test_what_the_handler_hung_on_the_context_is_copied_for_each_call():
    context = make_context()
    context.calls = 0
    context.cache = {"a": [1]}
    call = context.for_call()

    call.calls += 1
    call.cache["a"].append(2)

    assert (context.calls, context.cache) == (0, {"a": [1]})


def test_what_cannot_be_copied_is_shared():
    context = make_context()
    context.lock = threading.Lock()

    assert context.for_call().lock is context.lock


def test_the_model_is_the_same_in_all_calls():
    context = make_context()
    call = context.for_call()

    assert call.manifest is context.manifest
    assert call.system_properties is context.system_properties


def test_metrics_of_a_call_name_its_request():
    context = make_context(metrics=MetricsCache("", "m", None))
    first, second = context.for_call(), context.for_call()

    first.metrics.set_request_ids("a")
    second.metrics.set_request_ids("b")

    assert first.metrics.request_ids == "a"
    assert first.metrics.cache is second.metrics.cache
