"""Messages that are like an earlier one lead to the same as if they were parsed."""

from __future__ import annotations

import json

import pytest
from google.protobuf.message import DecodeError

from tsl.frontend.grpc_api import infer_messages
from tsl.frontend.grpc_api.infer_messages import InferAnswers, InferRequests, parts_like
from tsl.frontend.grpc_api.protos import open_inference_pb2 as pb
from tsl.frontend.grpc_api.tensor_messages import parts_of
from tsl.protocol.errors import InvalidOutput
from tsl.protocol.tensors import frame


def request_of(*tensors, datatype="FP32", request_id="", **more):
    request = pb.ModelInferRequest(model_name="m", id=request_id, **more)
    request.parameters["top_k"].int64_param = 3
    for number, raw in enumerate(tensors):
        request.inputs.add(name=f"x{number}", datatype=datatype, shape=[len(raw) // 4])
        request.raw_input_contents.append(raw)
    return request


def data_of(*tensors, **more):
    return request_of(*tensors, **more).SerializeToString()


@pytest.fixture
def requests():
    return InferRequests()


def learn(requests, data):
    """As the service does it."""
    request = requests.read(data)
    requests.remember(request, parts_of(request.message, takes_tensors=True))
    return request


@pytest.mark.parametrize("sizes", [(4,), (8, 4), (0, 1024, 4), (70_000, 20_000)])
def test_a_message_like_an_earlier_one_leads_to_the_same(requests, sizes):
    learn(requests, data_of(*(b"a" * size for size in sizes), request_id="first"))
    data = data_of(*(b"b" * size for size in sizes), request_id="the second one")

    request = requests.read(data)

    message = pb.ModelInferRequest.FromString(data)
    known = request.known
    assert parts_like(known, request.tensors) == parts_of(message, takes_tensors=True)
    assert (known.name, known.version, known.parameters) == ("m", "", {"top_k": 3})
    assert request.request_id == "the second one"
    assert request.message == message


@pytest.mark.parametrize(
    "other",
    [
        request_of(b"12345678"),
        request_of(b"1234", datatype="INT32"),
        request_of(b"1234", b"1234"),
        request_of(b"1234", model_version="2"),
        request_of(b"1234", inputs=[{"name": "y", "datatype": "FP32", "shape": [1]}]),
    ],
)
def test_another_one_is_not_taken_for_it(requests, other):
    learn(requests, data_of(b"1234"))

    request = requests.read(other.SerializeToString())

    assert request.known is None
    assert request.message == other


@pytest.mark.parametrize("tensors", [[b"12345"], [b"1234", b""], [b""]])
def test_tensors_that_do_not_fit_are_looked_at(requests, tensors):
    """Same fields, other bytes: the usual way says what is wrong with them."""
    learn(requests, data_of(b"1234"))
    message = request_of(b"1234")
    message.raw_input_contents[:] = tensors

    assert requests.read(message.SerializeToString()).known is None


@pytest.mark.parametrize(
    "message",
    [
        request_of(b"\1\0\0\0a---", datatype="BYTES"),  # each element has a size of its own
        request_of(b"1234", model_version="v" * 2000),
        request_of(),
    ],
)
def test_what_does_not_tell_all_is_not_remembered(requests, message):
    data = message.SerializeToString()
    request = requests.read(data)

    requests.remember(request, [None])

    assert requests.read(data).known is None


def test_what_is_remembered_is_bounded(requests, monkeypatch):
    monkeypatch.setattr(infer_messages, "MAX_REMEMBERED", 2)
    data = [data_of(b"1234" * count) for count in (1, 2, 3)]

    for each in data:
        learn(requests, each)

    assert [requests.read(each).known is None for each in data] == [True, True, False]


RAW = data_of(b"1234")
ID = b"\x1a\x01a"


@pytest.mark.parametrize(
    "data",
    [
        RAW + ID,  # behind the tensors
        ID + ID + RAW,
        b"\x50\x01" + RAW,  # a number, in a field that we do not know
        b"\xa2\x06\x01a" + RAW,  # a tag of two bytes
    ],
)
def test_what_is_unusual_is_read_by_protobuf(requests, data):
    request = learn(requests, data)

    assert request.message == pb.ModelInferRequest.FromString(data)
    assert requests.read(data).known is None


@pytest.mark.parametrize(
    "broken",
    [
        RAW[:-1],
        RAW + b"\x3a",
        RAW + b"\x3a\xff",
        b"\x1a\x01\xff" + RAW,
        b"\x1a" + b"\xff" * 9 + RAW,
    ],
)
def test_what_is_no_message_is_none_whatever_came_before(requests, broken):
    learn(requests, RAW)

    with pytest.raises(DecodeError):
        requests.read(broken)


def test_every_beginning_of_a_message_is_read_as_protobuf_does(requests):
    data = data_of(b"1234" * 40, b"12345678", request_id="r")
    learn(requests, data)

    for end in range(len(data) + 1):
        try:
            message = pb.ModelInferRequest.FromString(data[:end])
        except DecodeError:
            with pytest.raises(DecodeError):
                requests.read(data[:end])
        else:
            assert requests.read(data[:end]).message == message


# -- answers


def output(name, size, **more):
    parameters = {"parameters": {"binary_data_size": size}}
    return {"name": name, "datatype": "FP32", "shape": [size // 4], **parameters, **more}


def answer_of(*tensors, **more):
    outputs = [output(f"y{number}", len(each)) for number, each in enumerate(tensors)]
    header = json.dumps({"parameters": {"p": 1}, "outputs": outputs, **more}).encode()
    return frame(header, tensors)


@pytest.fixture
def answers():
    return InferAnswers()


@pytest.mark.parametrize("sizes", [(4,), (8, 4), (0, 1024, 4), (70_000, 20_000)])
@pytest.mark.parametrize("request_ids", [("", ""), ("a", "b"), ("", "later"), ("first", "")])
def test_an_answer_like_an_earlier_one_is_written_alike(answers, sizes, request_ids):
    for letter, request_id in zip((b"a", b"b"), request_ids, strict=True):
        tensors = [letter * size for size in sizes]

        data = answers.message_of(answer_of(*tensors), request_id, "m", "1.0")

        message = pb.ModelInferResponse.FromString(data)
        assert (message.model_name, message.model_version) == ("m", "1.0")
        assert message.id == request_id
        assert list(message.raw_output_contents) == tensors
        assert [each.name for each in message.outputs] == [f"y{n}" for n in range(len(sizes))]
        assert message.parameters["p"].int64_param == 1


def test_an_answer_s_own_id_is_used_where_the_client_gave_none(answers):
    body = answer_of(b"1234", id="own")

    ids = [
        pb.ModelInferResponse.FromString(answers.message_of(body, given, "m", "1")).id
        for given in ("", "", "given", "")
    ]

    assert ids == ["own", "own", "given", "own"]


def test_values_in_the_document_are_written_each_time(answers):
    header = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1.0]}]}
    body = frame(json.dumps(header).encode(), [])

    for _ in range(2):
        message = pb.ModelInferResponse.FromString(answers.message_of(body, "", "m", "1"))
        assert list(message.raw_output_contents) == [b"\0\0\x80?"]


@pytest.mark.parametrize("body", [b"", b"{}", frame(b"{}", []), frame(b"[", [])])
def test_an_answer_of_another_kind_is_the_model_s_fault(answers, body):
    answers.message_of(answer_of(b"1234"), "", "m", "1")

    with pytest.raises(InvalidOutput):
        answers.message_of(body, "", "m", "1")


def test_known_answers_are_bounded(answers, monkeypatch):
    monkeypatch.setattr(infer_messages, "MAX_REMEMBERED", 2)

    for count in range(5):
        answers.message_of(answer_of(b"1234" * count), "", "m", "1")

    assert len(answers._known) <= 2
