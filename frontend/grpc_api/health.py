"""``grpc.health.v1``: whether the server, or a service of it, can be used now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from grpc_health.v1 import health_pb2

from .call import Call
from .codes import CallError, StatusCode

SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"]
WATCH_S: Final = 1.0
"""How often a watched status is looked at."""

_Status = health_pb2.HealthCheckResponse


class HealthService:
    """The standard health service; it needs no token, as with HTTP's liveness.

    Args:
        is_serving: whether a service serves, None for one that does not exist; "" is the server.
        stopping: set when the server is about to end: nothing serves any more, and watches end.
    """

    def __init__(self, is_serving: Callable[[str], bool | None], stopping: asyncio.Event) -> None:
        self._is_serving = is_serving
        self._stopping = stopping

    def check(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> health_pb2.HealthCheckResponse:
        """The status now."""
        del call
        is_serving = self._is_serving(request.service)
        if is_serving is None:
            raise CallError(StatusCode.NOT_FOUND, "There is no such service.")
        return _response(is_serving)

    async def watch(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and whenever it changes."""
        del call
        last: object = ()
        while True:
            is_serving = self._is_serving(request.service)
            if is_serving is not last:
                last = is_serving
                yield _response(is_serving)
            if self._stopping.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), WATCH_S)


def _response(is_serving: bool | None) -> health_pb2.HealthCheckResponse:
    if is_serving is None:
        return _Status(status=_Status.SERVICE_UNKNOWN)
    return _Status(status=_Status.SERVING if is_serving else _Status.NOT_SERVING)
