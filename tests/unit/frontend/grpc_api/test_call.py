from __future__ import annotations

import asyncio
import gc
import gzip
import zlib

import h2.events
import pytest
from h2_client import REQUEST, Play

from tsl.frontend.grpc_api.codes import CallError, StatusCode
from tsl.frontend.grpc_api.protos.inference_pb2 import (
    DESCRIPTOR,
    PredictionResponse,
    PredictionsRequest,
    TorchServeHealthResponse,
)
from tsl.frontend.grpc_api.service import methods_of
from tsl.frontend.grpc_api.session import ServedMethods, Session
from tsl.protocol.errors import ModelNotFound, Unauthorized

SERVICE = DESCRIPTOR.services_by_name["InferenceAPIsService"]
NAME = SERVICE.full_name
MAX_BYTES = 200_000


def prefixed(message, flag=0):
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


def ask(data=b"", name="m"):
    return PredictionsRequest(model_name=name, input={"data": data}).SerializeToString()


class Servicer:
    """A method of each kind."""

    def __init__(self):
        self.error = None
        self.calls = []
        self.withdrawn = []
        self.closed = []
        self.go_on = asyncio.Event()

    def ping(self, request, call):
        if self.error is not None:
            raise self.error
        return TorchServeHealthResponse(health="fine")

    def predictions(self, request, call):
        """Answers when the test wants."""
        call.withdraw = lambda: self.withdrawn.append(call)
        self.calls.append((request, call))

    async def stream_predictions(self, request, call):
        try:
            for number in range(3):
                yield PredictionResponse(prediction=b"%d" % number)
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            yield PredictionResponse(prediction=request.input["data"])
        finally:
            self.closed.append(call)

    async def stream_predictions2(self, requests, call):
        try:
            async for request in requests:
                self.calls.append((request, call))
                await self.go_on.wait()
                yield PredictionResponse(prediction=request.input["data"])
        finally:
            self.closed.append(call)


class Log:
    def __init__(self):
        self.calls = []

    def add_call(self, peer, method, code, started_at, request_id):
        assert len(request_id) == 36
        self.calls.append((peer, method.rpartition("/")[2], code.name))


class Stage:
    """A client, and a server of the servicer above."""

    def __init__(self, guard=None, **limits):
        self.servicer = Servicer()
        self.log = Log()
        methods = methods_of(SERVICE, self.servicer)
        ping = f"/{NAME}/Ping".encode()
        served = ServedMethods(
            {path: method for path, method in methods.items() if path != ping},
            {ping: methods[ping]},
            guard=guard,
            log=self.log,
            max_message_bytes=MAX_BYTES,
            max_metadata_bytes=2000,
        )
        transport = type("Transport", (), {"peer": b"/192.0.2.1:1", "core": None})()
        self.play = Play(Session(served, transport), start=False, **limits)
        transport.core = self.play.core
        self.play.client.initiate_connection()
        self.play.exchange()

    def call(self, method, *messages, ends=True, path=None, replace=None, **metadata):
        """Begin a call; returns its stream."""
        client = self.play.client
        number = client.get_next_available_stream_id()
        fields = dict(REQUEST) | {
            ":path": path or f"/{NAME}/{method}",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        fields |= {name.replace("_", "-"): value for name, value in metadata.items()}
        fields |= replace or {}
        client.send_headers(number, list(fields.items()), end_stream=ends and not messages)
        for n, message in enumerate(messages):
            self.send(number, message, ends=ends and n == len(messages) - 1)
        self.play.exchange()
        return number

    def send(self, number, message, *, ends=False):
        client = self.play.client
        self.play.exchange()
        while message and number in self.play.core.streams:
            size = min(
                client.local_flow_control_window(number),
                client.max_outbound_frame_size,
                len(message),
            )
            if not size:
                return  # the server does not want more
            client.send_data(number, message[:size])
            message = message[size:]
            self.play.exchange()
        if ends and number in self.play.core.streams:
            client.end_stream(number)
            self.play.exchange()

    async def settle(self):
        """Let tasks run."""
        for _ in range(10):
            await asyncio.sleep(0)
            self.play.exchange()

    def messages(self, number):
        """The messages that have arrived: pairs of flag and bytes."""
        data, messages = self.play.body(number), []
        while data:
            size = int.from_bytes(data[1:5], "big")
            if len(data) < 5 + size:
                break
            messages.append((data[0], data[5 : 5 + size]))
            data = data[5 + size :]
        return messages

    def predictions(self, number):
        return [
            PredictionResponse.FromString(message).prediction
            for _, message in self.messages(number)
        ]

    def fields(self, number):
        """All fields of the answer."""
        kinds = (h2.events.ResponseReceived, h2.events.TrailersReceived)
        return dict(pair for event in self.play.of(kinds, number) for pair in event.headers)

    def status(self, number):
        """Name of the status, and the text; None before the end."""
        fields = self.fields(number)
        if b"grpc-status" not in fields:
            return None
        text = fields.get(b"grpc-message", b"").decode()
        return StatusCode(int(fields[b"grpc-status"])).name, text


def scenario(test):
    """Run a test in an event loop."""

    def run(*arguments, **options):
        asyncio.run(test(*arguments, **options))

    run.__name__ = test.__name__
    run.__wrapped__ = test
    return run


# -- one message


def test_a_plain_method_answers_at_once():
    stage = Stage()
    number = stage.call("Ping", prefixed(b""))

    (answer,) = stage.messages(number)
    assert TorchServeHealthResponse.FromString(answer[1]).health == "fine"
    assert stage.status(number) == ("OK", "")
    assert stage.fields(number)[b"content-type"] == b"application/grpc"
    assert stage.log.calls == [(b"/192.0.2.1:1", "Ping", "OK")]


def test_a_plain_method_may_answer_later():
    stage = Stage()
    number = stage.call("Predictions", prefixed(ask(b"abc")))
    ((request, call),) = stage.servicer.calls
    assert request.input["data"] == b"abc"
    assert stage.status(number) is None

    call.respond(PredictionResponse(prediction=b"later"))
    call.respond(PredictionResponse(prediction=b"again"))
    call.fail(ModelNotFound("too late"))
    stage.play.exchange()

    assert stage.predictions(number) == [b"later"]
    assert stage.status(number) == ("OK", "")
    assert not stage.servicer.withdrawn
    assert len(stage.log.calls) == 1


@pytest.mark.parametrize("size", [0, 10, 70_000, 190_000])
def test_a_message_may_come_in_many_frames(size):
    stage = Stage(window_bytes=65_535)
    number = stage.call("Predictions", prefixed(ask(b"x" * size)))

    ((request, _),) = stage.servicer.calls
    assert len(request.input["data"]) == size
    assert stage.status(number) is None


def test_a_message_may_come_byte_by_byte():
    stage = Stage()
    number = stage.call("Predictions", ends=False)
    for byte in prefixed(ask(b"abc")):
        stage.play.client.send_data(number, bytes([byte]))
    stage.play.exchange()
    assert not stage.servicer.calls
    stage.play.client.end_stream(number)
    stage.play.exchange()

    assert stage.servicer.calls[0][0].input["data"] == b"abc"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "INVALID_ARGUMENT"),
        (b"\0\0\0", "INVALID_ARGUMENT"),
        (prefixed(ask(b"abc"))[:-1], "INVALID_ARGUMENT"),
        (prefixed(b"\xff\xff\xff"), "INVALID_ARGUMENT"),
        (prefixed(ask()) + prefixed(ask()), "UNIMPLEMENTED"),
        (prefixed(ask(), flag=2), "INTERNAL"),
        (prefixed(ask(), flag=1), "INTERNAL"),
        (b"\0" + (MAX_BYTES + 1).to_bytes(4, "big") + b"abc", "RESOURCE_EXHAUSTED"),
        (prefixed(bytes(MAX_BYTES + 1)), "RESOURCE_EXHAUSTED"),
    ],
    ids=[
        "none",
        "short prefix",
        "short",
        "no protobuf",
        "two",
        "flag",
        "compressed",
        "long",
        "big",
    ],
)
def test_what_is_no_message_is_refused(message, code):
    stage = Stage()
    number = stage.call("Predictions", message) if message else stage.call("Predictions")

    assert stage.status(number)[0] == code
    assert stage.status(number)[1]
    assert not stage.servicer.calls
    assert stage.log.calls[0][2] == code
    assert not stage.play.core.streams


# -- errors


def test_an_error_has_its_status_and_its_text():
    stage = Stage()
    stage.servicer.error = ModelNotFound("no\nmödel 100%")
    number = stage.call("Ping", prefixed(b""))

    assert stage.status(number) == ("NOT_FOUND", "no%0Am%C3%B6del 100%25")
    assert stage.messages(number) == []
    assert stage.play.has_ended(number)


def test_a_bug_costs_one_call_and_tells_its_caller_nothing(caplog):
    stage = Stage()
    stage.servicer.error = RuntimeError("secret")
    number = stage.call("Ping", prefixed(b""))

    assert stage.status(number)[0] == "INTERNAL"
    assert "secret" not in stage.status(number)[1]
    assert "secret" in caplog.text


def test_the_guard_sees_the_token_before_the_message_has_come():
    seen = []

    def guard(authorization, peer):
        seen.append((authorization, peer))
        raise Unauthorized

    stage = Stage(guard)
    number = stage.call("Predictions", ends=False, authorization="Bearer abc")

    assert seen == [(b"Bearer abc", b"/192.0.2.1:1")]
    assert stage.status(number)[0] == "PERMISSION_DENIED"
    number = stage.call("Ping", prefixed(b""))  # health needs none
    assert stage.status(number)[0] == "OK"


def test_an_unknown_method():
    stage = Stage()
    number = stage.call("", prefixed(b""), path="/a.B/C")

    assert stage.status(number)[0] == "UNIMPLEMENTED"
    assert stage.log.calls == [(b"/192.0.2.1:1", "C", "UNIMPLEMENTED")]


@pytest.mark.parametrize(
    ("replace", "status"),
    [
        ({":method": "GET"}, b"405"),
        ({"content-type": "application/json"}, b"415"),
        ({"content-type": "application/grpcx"}, b"415"),
        ({"content-type": ""}, b"415"),
        ({"content-type": "application/grpc+json"}, b"415"),
        ({"content-type": "application/grpc+proto"}, b"200"),
        ({"content-type": "application/grpc; x=y"}, b"200"),
    ],
)
def test_what_is_no_call_gets_a_status_of_http(replace, status):
    stage = Stage()
    number = stage.call("Ping", prefixed(b""), replace=replace)

    assert stage.fields(number)[b":status"] == status


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"grpc_timeout": "1x"}, "INVALID_ARGUMENT"),
        ({"grpc_timeout": "123456789S"}, "INVALID_ARGUMENT"),
        ({"grpc_timeout": "10S"}, "OK"),
        ({"grpc_encoding": "snappy"}, "UNIMPLEMENTED"),
        ({"big": "x" * 2000}, "RESOURCE_EXHAUSTED"),
        ({"trace_bin": "AAEC"}, "OK"),
    ],
)
def test_metadata_that_is_not_understood_is_refused(metadata, code):
    stage = Stage()
    number = stage.call("Ping", prefixed(b""), **metadata)

    assert stage.status(number)[0] == code
    if code == "UNIMPLEMENTED":
        assert b"gzip" in stage.fields(number)[b"grpc-accept-encoding"]


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("2H", 7200), ("3M", 180), ("4S", 4), ("5000m", 5), ("6000000u", 6), ("99999999n", 0.1)],
)
def test_the_deadline_of_a_call(timeout, seconds):
    stage = Stage()
    stage.call("Predictions", prefixed(ask()), grpc_timeout=timeout)
    (_, call), *_ = stage.servicer.calls

    assert seconds - 5 < call.time_remaining() <= seconds


# -- compression


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_messages_are_compressed_both_ways_if_the_client_does_so(name, pack):
    stage = Stage()
    message = pack(ask(b"x" * 5000))
    accepts = {"grpc_encoding": name, "grpc_accept_encoding": "identity, deflate, gzip"}
    number = stage.call("Predictions", prefixed(message, 1), **accepts)
    ((request, call),) = stage.servicer.calls
    assert request.input["data"] == b"x" * 5000

    call.send(PredictionResponse(prediction=b"y" * 5000))
    call.respond(PredictionResponse(prediction=b"small"))
    stage.play.exchange()

    (first, body), (second, _) = stage.messages(number)
    assert (first, second) == (1, 0)
    assert b"y" * 5000 in zlib.decompress(body, 47)
    assert stage.fields(number)[b"grpc-encoding"] == name.encode()


def test_an_answer_is_not_compressed_for_who_does_not_say_that_he_can_read_it():
    stage = Stage()
    number = stage.call(
        "Predictions", prefixed(gzip.compress(ask(b"x" * 5000)), 1), grpc_encoding="gzip"
    )
    stage.servicer.calls[0][1].respond(PredictionResponse(prediction=b"y" * 5000))
    stage.play.exchange()

    assert stage.messages(number)[0][0] == 0
    assert b"grpc-encoding" not in stage.fields(number)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (gzip.compress(ask(bytes(10_000_000))), "RESOURCE_EXHAUSTED"),
        (gzip.compress(ask(b"abc"))[:-9], "INVALID_ARGUMENT"),
        (b"no gzip at all", "INVALID_ARGUMENT"),
    ],
    ids=["a bomb", "cut off", "none"],
)
def test_compressed_messages_are_bounded_and_checked(message, code):
    stage = Stage()
    number = stage.call("Predictions", prefixed(message, 1), grpc_encoding="gzip")

    assert stage.status(number)[0] == code
    assert not stage.servicer.calls


def test_the_first_job_of_a_call_has_its_id():
    stage = Stage()
    stage.call("Predictions", prefixed(ask()))
    ((_, call),) = stage.servicer.calls
    ids = [call.new_job_id() for _ in range(3)]

    assert ids[0] == call.request_id
    assert len(set(ids)) == 3


# -- streams


@scenario
async def test_a_stream_of_answers():
    stage = Stage()
    number = stage.call("StreamPredictions", prefixed(ask(b"last")))
    await stage.settle()
    assert stage.predictions(number) == [b"0", b"1", b"2"]
    stage.servicer.go_on.set()
    await stage.settle()

    assert stage.predictions(number)[3:] == [b"last"]
    assert stage.status(number) == ("OK", "")
    assert len(stage.servicer.closed) == 1


@scenario
async def test_an_error_in_the_middle_of_a_stream_comes_in_its_trailers():
    stage = Stage()
    stage.servicer.error = CallError(StatusCode.ABORTED, "enough")
    stage.servicer.go_on.set()
    number = stage.call("StreamPredictions", prefixed(ask()))
    await stage.settle()

    assert stage.predictions(number) == [b"0", b"1", b"2"]
    assert stage.status(number) == ("ABORTED", "enough")


@scenario
async def test_a_stream_both_ways():
    stage = Stage()
    stage.servicer.go_on.set()
    number = stage.call("StreamPredictions2", prefixed(ask(b"a")), ends=False)
    await stage.settle()
    assert stage.predictions(number) == [b"a"]
    two = prefixed(ask(b"b")) + prefixed(ask(b"c" * 100_000))
    stage.send(number, two[:20])
    stage.send(number, two[20:], ends=True)
    await stage.settle()
    assert [p[:1] for p in stage.predictions(number)] == [b"a", b"b"]
    for _ in range(10):
        await stage.settle()
        stage.play.take(number)

    assert [len(p) for p in stage.predictions(number)] == [1, 1, 100_000]
    assert stage.status(number) == ("OK", "")


@scenario
async def test_the_last_messages_may_come_with_the_end():
    stage = Stage()
    stage.servicer.go_on.set()
    number = stage.call("StreamPredictions2", ends=False)
    data = prefixed(ask(b"a")) + prefixed(ask(b"b"))
    stage.play.client.send_data(number, data, end_stream=True)
    await stage.settle()

    assert stage.predictions(number) == [b"a", b"b"]
    assert stage.status(number) == ("OK", "")


@scenario
async def test_a_client_that_sends_more_than_is_read_has_to_wait():
    stage = Stage(window_bytes=100_000)
    number = stage.call("StreamPredictions2", ends=False)
    sent = 0
    while True:
        message = prefixed(ask(b"x" * 50_000))
        if stage.play.client.local_flow_control_window(number) < len(message):
            break
        stage.send(number, message)
        sent += 1
    assert 5 <= sent <= 10
    stage.servicer.go_on.set()
    await stage.settle()

    assert len(stage.servicer.calls) > 0
    stage.play.exchange()
    assert stage.play.client.local_flow_control_window(number) >= 50_000


@scenario
async def test_a_producer_waits_for_a_client_that_takes_nothing():
    stage = Stage()

    async def endless(request, call):
        for number in range(1000):
            made.append(number)
            yield PredictionResponse(prediction=bytes(10_000))

    made = []
    session = stage.play.core._application
    session._served.methods[f"/{NAME}/StreamPredictions".encode()].call = endless
    number = stage.call("StreamPredictions", prefixed(ask()))
    await stage.settle()
    before = len(made)
    assert before < 20
    for _ in range(4):
        stage.play.take(number)
        await stage.settle()

    assert before < len(made) < 100
    stage.play.client.reset_stream(number)
    await stage.settle()
    assert stage.log.calls[-1][2] == "CANCELLED"


# -- the end of calls


def test_a_client_that_leaves_withdraws_what_is_done_for_it():
    stage = Stage()
    number = stage.call("Predictions", prefixed(ask()))
    stage.play.client.reset_stream(number, 8)
    stage.play.exchange()
    ((_, call),) = stage.servicer.calls

    assert stage.servicer.withdrawn == [call]
    call.respond(PredictionResponse())
    call.fail(ModelNotFound())
    assert not stage.play.sent
    assert stage.log.calls == [(b"/192.0.2.1:1", "Predictions", "CANCELLED")]


def test_a_lost_connection_withdraws_everything():
    stage = Stage()
    for _ in range(3):
        stage.call("Predictions", prefixed(ask()))
    stage.play.core.lost()

    assert len(stage.servicer.withdrawn) == 3


@scenario
async def test_a_cancelled_stream_closes_its_generator():
    stage = Stage()
    number = stage.call("StreamPredictions", prefixed(ask()))
    await stage.settle()
    stage.play.client.reset_stream(number, 8)
    stage.play.exchange()
    await stage.settle()

    assert len(stage.servicer.closed) == 1


@scenario
async def test_a_call_that_is_cancelled_before_its_task_has_begun():
    stage = Stage()
    number = stage.call("StreamPredictions", prefixed(ask()))
    stage.play.client.reset_stream(number, 8)
    stage.play.exchange()
    await stage.settle()

    assert stage.log.calls == [(b"/192.0.2.1:1", "StreamPredictions", "CANCELLED")]


@scenario
async def test_a_task_ends_with_the_deadline_of_its_call():
    stage = Stage()
    number = stage.call("StreamPredictions", prefixed(ask()), grpc_timeout="1m")
    while stage.status(number) is None:
        await asyncio.sleep(0.005)
        stage.play.exchange()
    await stage.settle()

    assert stage.status(number)[0] == "DEADLINE_EXCEEDED"
    assert len(stage.servicer.closed) == 1


def test_nothing_of_a_call_is_kept_alive_when_it_has_ended():
    """Else each call would be garbage that only the collector can free."""
    stage = Stage()
    number = stage.call("Predictions", prefixed(ask()))
    ((_, call),) = stage.servicer.calls
    stage.servicer.calls.clear()
    call.respond(PredictionResponse())
    stage.play.exchange()
    gc.collect()
    gc.disable()
    try:
        del call
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert stage.status(number)[0] == "OK"
