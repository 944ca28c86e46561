"""``grpc.health.v1``: whether the server, or a service of it, can be used now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

WATCH_S: Final = 1.0
"""How often a watched status is looked at."""

_Status = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):
    """The standard health service; it needs no token, as with HTTP's liveness.

    Args:
        is_serving: whether a service serves, None for one that does not exist; "" is the server.
    """

    def __init__(self, is_serving: Callable[[str], bool | None]) -> None:
        self._is_serving = is_serving

    async def Check(  # noqa: N802  (gRPC's name)
        self,
        request: health_pb2.HealthCheckRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> health_pb2.HealthCheckResponse:
        """The status now."""
        is_serving = self._is_serving(request.service)
        if is_serving is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        return _response(is_serving)

    async def Watch(  # noqa: N802  (gRPC's name)
        self,
        request: health_pb2.HealthCheckRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and whenever it changes."""
        del context
        last: object = ()
        while True:
            is_serving = self._is_serving(request.service)
            if is_serving is not last:
                last = is_serving
                yield _response(is_serving)
            await asyncio.sleep(WATCH_S)


def _response(is_serving: bool | None) -> health_pb2.HealthCheckResponse:
    if is_serving is None:
        return _Status(status=_Status.SERVICE_UNKNOWN)
    return _Status(status=_Status.SERVING if is_serving else _Status.NOT_SERVING)
