"""The bytes of TorchServe 0.12.0; those of answers were recorded from it."""

import struct

import pytest

from tsl.backend.context import Context, RequestProcessor
from tsl.backend.otf_messages import (
    create_load_model_response,
    create_predict_response,
    encode_response_headers,
    retrieve_msg,
)

PLAIN = (
    b"\x00\x00\x00\xc8\x00\x00\x00\x12Prediction success\x00\x00\x00\x02r0\x00\x00\x00\x00"
    b"\x00\x00\x00\xc8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03abc\x00\x00\x00\x02r1"
    b"\x00\x00\x00\x00\x00\x00\x00\xc8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c"
    b'{\n  "x": 1\n}\xff\xff\xff\xff'
)
STREAMED = (
    b"\x00\x00\x00\xc8\x00\x00\x00\x12Prediction success\x00\x00\x00\x02r0\x00\x00\x00\x00"
    b"\x00\x00\x01\x94\x00\x00\x00\x02No\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x01b"
    b"\x00\x00\x00\x0ets_stream_next\x00\x00\x00\x04true\x00\x00\x00\x03abc\x00\x00\x00\x02r1"
    b"\x00\x00\x00\x03t/x\x00\x00\x00\xc8\x00\x00\x00\x00\x00\x00\x00\x02"
    b"\x00\x00\x00\x0ccontent-type\x00\x00\x00\x03t/x\x00\x00\x00\x0ets_stream_next"
    b'\x00\x00\x00\x04true\x00\x00\x00\x0c{\n  "x": 1\n}\xff\xff\xff\xff'
)
FAILED = (
    b"\x00\x00\x01\xf7\x00\x00\x00\x06Failed\x00\x00\x00\x02r0\x00\x00\x00\x00\x00\x00\x01\x94"
    b"\x00\x00\x00\x02No\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x01b"
    b"\x00\x00\x00\x0ets_stream_next\x00\x00\x00\x05false\x00\x00\x00\x05error\xff\xff\xff\xff"
)
ANSWERS = ["abc", {"x": 1}]
IDS = {0: "r0", 1: "r1"}


def block(data):
    return struct.pack("!i", len(data)) + data


class Connection:
    """Gives a few bytes at a time, as sockets may."""

    def __init__(self, data):
        self.data = data

    def recv(self, size):
        part, self.data = self.data[: min(size, 3)], self.data[min(size, 3) :]
        return part


@pytest.fixture
def context():
    context = Context("m", "d", {}, 1, None, "v")
    context.request_processor = [RequestProcessor({}), RequestProcessor({})]
    context.request_ids = dict(IDS)
    context.set_response_header(0, "a", "b")
    context.set_response_content_type(1, "t/x")
    context.set_response_status(404, "No", 0)
    return context


def test_answers_without_a_context():
    assert create_predict_response(ANSWERS, IDS, "Prediction success", 200) == PLAIN


def test_answers_with_a_context_and_the_end_of_a_stream(context):
    streamed = create_predict_response(ANSWERS, IDS, "Prediction success", 200, context, True)
    failed = create_predict_response(None, {0: "r0"}, "Failed", 503, context)

    assert streamed == STREAMED
    assert failed == FAILED


@pytest.mark.parametrize(("verdict", "header"), [(True, "false"), (False, "true"), (None, None)])
def test_stopping_criteria_say_whether_more_is_to_come(context, verdict, header):
    context.stopping_criteria = [lambda _: verdict, lambda _: verdict]

    create_predict_response(ANSWERS, IDS, "Prediction success", 200, context)

    assert context.get_response_headers(0).get("ts_stream_next") == header


def test_a_value_without_encoding_fails_the_batch():
    message = create_predict_response([{1, 2}], {0: "r0"}, "Prediction success", 200)

    assert message.startswith(
        struct.pack("!i", 503) + block(b"Unsupported model output data type.")
    )
    assert message.endswith(block(b"error") + b"\xff\xff\xff\xff")


def test_smaller_messages():
    assert create_load_model_response(200, "ok") == b"\0\0\0\xc8\0\0\0\x02ok\xff\xff\xff\xff"
    assert encode_response_headers({"a": "b"}) == b"\0\0\0\x01\0\0\0\x01a\0\0\0\x01b"


@pytest.mark.parametrize(
    ("kind", "value", "decoded"),
    [
        (b"application/json", b'{"a": 1}', {"a": 1}),
        (b"text/plain", b"a", "a"),
        (b"", b"a", bytearray(b"a")),
    ],
    ids=["json", "text", "bytes"],
)
def test_requests_are_read(kind, value, decoded):
    end = struct.pack("!i", -1)
    message = b"I" + block(b"id") + block(b"name") + block(b"value") + end
    message += block(b"body") + block(kind) + block(value) + end + end

    command, requests = retrieve_msg(Connection(message))

    assert command == b"I"
    assert requests == [
        {
            "requestId": b"id",
            "headers": [{"name": b"name", "value": b"value"}],
            "parameters": [{"name": "body", "contentType": kind.decode(), "value": decoded}],
        }
    ]


def test_an_order_to_load_is_read():
    message = b"L" + block(b"m") + block(b"/p") + struct.pack("!i", 4) + block(b"h")
    message += struct.pack("!i", -1) + block(b"") + b"\x01"

    assert retrieve_msg(Connection(message)) == (
        b"L",
        {
            "modelName": b"m",
            "modelPath": b"/p",
            "batchSize": 4,
            "handler": b"h",
            "envelope": b"",
            "limitMaxImagePixels": True,
        },
    )


@pytest.mark.parametrize(
    ("message", "error"),
    [(b"X", ValueError), (b"", EOFError), (b"I\0\0", EOFError), (b"L\xff\xff\xff\xf0", ValueError)],
)
def test_what_is_no_message_is_refused(message, error):
    with pytest.raises(error):
        retrieve_msg(Connection(message))
