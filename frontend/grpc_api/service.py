"""What all services share: how a method of a `.proto` file becomes a handler, and how it fails.

Servicers here are plain classes with one coroutine (or asynchronous generator) for each method of
their service, in snake case. `handlers_of` binds them by the service's own descriptor, so that a
method that is declared and not written is noticed at start.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from tsl.protocol.errors import InternalError, TslError

from .call_id import begin_call

logger = logging.getLogger(__name__)

_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


class CallLog(Protocol):
    """Takes one line per call."""

    def add_call(
        self, peer: str, method: str, code: int, started_at: float, request_id: str
    ) -> None:
        """Note a call that has ended.

        Args:
            peer: the client, as gRPC names it.
            method: full name, ``/package.Service/Method``.
            code: number of the gRPC status.
            started_at: ``time.monotonic()`` seconds.
            request_id: the call's own.
        """


Guard = Callable[[bytes, bytes], None]
"""Lets a call pass: takes the ``authorization`` of its metadata, and the peer.

Raises `TslError` for one that may not.
"""


class ServiceContext:
    """What the calls of one listener share.

    Args:
        guard: checks tokens; None when they are off.
        log: the access log; None when it is off.
    """

    def __init__(self, guard: Guard | None, log: CallLog | None) -> None:
        self.guard = guard
        self.log = log


def handlers_of(
    service: ServiceDescriptor, servicer: object, context: ServiceContext, name: str = ""
) -> grpc.GenericRpcHandler:
    """Handlers for all methods of a service.

    Args:
        service: descriptor of the service.
        servicer: has a coroutine function, or an asynchronous generator function if the answer
            is a stream, for each method; it takes the request (or an iterator of requests) and
            the call's context, and raises `TslError`.
        context: shared things.
        name: full name to serve it under; "" for its own.

    Raises:
        AttributeError: the servicer lacks a method.
    """
    full_name = name or service.full_name
    handlers = {
        method.name: _handler(
            f"/{full_name}/{method.name}", method, getattr(servicer, _snake(method.name)), context
        )
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(full_name, handlers)


def _handler(
    name: str, method: MethodDescriptor, call: Any, context: ServiceContext
) -> grpc.RpcMethodHandler[Any, Any]:
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    wrap = _guarded_stream if method.server_streaming else _guarded_unary
    make = kinds[method.client_streaming, method.server_streaming]
    handler: grpc.RpcMethodHandler[Any, Any] = make(
        wrap(call, name, context),
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
    return handler


def _guarded_unary(
    call: Callable[[Any, Any], Awaitable[Any]], name: str, context: ServiceContext
) -> Callable[[Any, Any], Awaitable[Any]]:
    async def run(request: Any, rpc: aio.ServicerContext[Any, Any]) -> Any:
        started_at, call_id = time.monotonic(), begin_call()
        peer = rpc.peer()  # in `finally` it may be too late: gRPC may have freed the call
        code = grpc.StatusCode.OK
        try:
            _check(context, rpc, peer)
            return await call(request, rpc)
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED  # nobody is left to be told
            raise
        except Exception as error:
            # The boundary of a call: a bug must cost one call, and tell its caller nothing.
            code, text = _status(error, name, call_id.text)
            await rpc.abort(code, text)
        finally:
            _note(context, peer, name, code, started_at, call_id.text)

    return run


def _guarded_stream(
    call: Callable[[Any, Any], AsyncGenerator[Any, None]], name: str, context: ServiceContext
) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def run(request: Any, rpc: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        started_at, call_id = time.monotonic(), begin_call()
        peer = rpc.peer()  # in `finally` it may be too late: gRPC may have freed the call
        code = grpc.StatusCode.OK
        try:
            _check(context, rpc, peer)
            # Closed here and now, whatever ends the call: that is what withdraws its job.
            async with aclosing(call(request, rpc)) as answers:
                async for answer in answers:
                    yield answer
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED  # nobody is left to be told
            raise
        except Exception as error:
            # The boundary of a call: a bug must cost one call, and tell its caller nothing.
            code, text = _status(error, name, call_id.text)
            await rpc.abort(code, text)
        finally:
            _note(context, peer, name, code, started_at, call_id.text)

    return run


def _check(context: ServiceContext, rpc: aio.ServicerContext[Any, Any], peer: str) -> None:
    if context.guard is not None:
        context.guard(authorization_of(rpc), peer.encode())


def _status(error: Exception, name: str, request_id: str) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, TslError):
        return status_of(error), str(error)
    fields = {"request_id": request_id}
    logger.error("%s: %s: internal error", request_id, name, exc_info=error, extra=fields)
    return grpc.StatusCode.INTERNAL, str(InternalError())


def status_of(error: TslError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    return grpc.StatusCode[error.grpc_name]


def authorization_of(rpc: aio.ServicerContext[Any, Any]) -> bytes:
    """The value of ``authorization`` in a call's metadata, b"" when there is none."""
    for key, value in rpc.invocation_metadata() or ():
        if key == "authorization":
            return value.encode("latin-1", "replace") if isinstance(value, str) else value
    return b""


def _note(
    context: ServiceContext,
    peer: str,
    name: str,
    code: grpc.StatusCode,
    started_at: float,
    request_id: str,
) -> None:
    if context.log is not None:
        number: int = code.value[0]
        context.log.add_call(peer, name, number, started_at, request_id)


def _snake(name: str) -> str:
    return _WORD.sub("_", name).lower()
