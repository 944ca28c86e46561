from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import aio

from tsl.frontend.grpc_api.protos.inference_pb2 import DESCRIPTOR
from tsl.frontend.grpc_api.service import ServiceContext, handlers_of, status_of
from tsl.protocol import errors
from tsl.protocol.errors import ModelNotFound, TslError, Unauthorized

SERVICE = DESCRIPTOR.services_by_name["InferenceAPIsService"]
PING = f"/{SERVICE.full_name}/Ping"


class Servicer:
    """Fails as it is told."""

    def __init__(self, error=None):
        self.error = error

    async def ping(self, request, rpc):
        if self.error is not None:
            raise self.error

    predictions = ping

    async def stream_predictions(self, request, rpc):
        if self.error is not None:
            raise self.error
        yield None

    stream_predictions2 = stream_predictions


class Log:
    def __init__(self):
        self.calls = []

    def add_call(self, peer, method, code, started_at, request_id):
        self.calls.append((method, code))


class Rpc:
    """What a handler needs of gRPC's context."""

    def __init__(self, metadata=()):
        self.metadata = metadata
        self.ended = None

    def invocation_metadata(self):
        return self.metadata

    def peer(self):
        return "ipv4:127.0.0.1:5000"

    async def abort(self, code, details):
        self.ended = (code.name, details)
        raise aio.AbortError


def call(servicer, rpc, *, guard=None, method=PING):
    log = Log()
    handlers = handlers_of(SERVICE, servicer, ServiceContext(guard, log))
    details = type("Details", (), {"method": method, "invocation_metadata": ()})
    handler = handlers.service(details)

    async def run():
        if handler.response_streaming:
            async for _ in handler.unary_stream(Empty(), rpc):
                pass
        else:
            await handler.unary_unary(Empty(), rpc)

    with contextlib.suppress(aio.AbortError):
        asyncio.run(run())
    return log.calls


@pytest.mark.parametrize(
    "cls",
    [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, TslError)
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_error_has_a_status_that_grpc_knows(cls):
    assert status_of(cls()) in grpc.StatusCode


def test_a_servicer_that_lacks_a_method_is_noticed_at_once():
    with pytest.raises(AttributeError, match="ping"):
        handlers_of(SERVICE, object(), ServiceContext(None, None))


@pytest.mark.parametrize("method", ["Ping", "StreamPredictions"])
def test_an_error_ends_the_call_and_is_in_the_log(method):
    rpc = Rpc()
    path = f"/{SERVICE.full_name}/{method}"

    logged = call(Servicer(ModelNotFound("no such model")), rpc, method=path)

    assert rpc.ended == ("NOT_FOUND", "no such model")
    assert logged == [(path, 5)]


def test_a_bug_costs_one_call_and_tells_its_caller_nothing(caplog):
    rpc = Rpc()

    logged = call(Servicer(RuntimeError("secret")), rpc)

    assert rpc.ended[0] == "INTERNAL"
    assert "secret" not in rpc.ended[1]
    assert "secret" in caplog.text
    assert logged == [(PING, 13)]


def test_the_guard_sees_the_token_before_the_servicer_is_asked():
    seen = []

    def guard(authorization, peer):
        seen.append((authorization, peer))
        raise Unauthorized

    rpc = Rpc((("x", "y"), ("authorization", "Bearer abc")))
    call(Servicer(RuntimeError()), rpc, guard=guard)

    assert seen == [(b"Bearer abc", b"ipv4:127.0.0.1:5000")]
    assert rpc.ended[0] == "PERMISSION_DENIED"
