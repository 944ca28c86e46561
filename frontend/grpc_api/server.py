"""The gRPC listeners: their addresses, limits, encryption, and how they stop.

Each runs gRPC's own server on the event loop of the front end. What it costs HTTP while nobody
calls is nothing: its threads wait in the kernel (``docs/decisions.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from tsl.protocol.errors import ConfigError

from .health import HealthService
from .reflection import described_pool

REPLY_OVERHEAD_BYTES: Final = 64 * 1024


class GrpcListener:
    """One address with some services.

    Args:
        name: ``inference`` or ``management``, for messages.
        host: where to listen.
        port: 0 lets the system choose.
        max_message_bytes: of a request; ``max_request_size``.
        max_age_ms: longest life of a connection; None for no limit.
        max_age_grace_ms: how long calls may outlive it; None for no limit.
        credentials: certificate and key; None for no encryption.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        max_message_bytes: int,
        max_age_ms: int | None = None,
        max_age_grace_ms: int | None = None,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self._options = _options(max_message_bytes, max_age_ms, max_age_grace_ms)
        self._credentials = credentials
        self._server: aio.Server | None = None

    @property
    def address(self) -> str:
        """``host:port``, as gRPC clients write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    async def open(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        service_names: Sequence[str],
        is_serving: Callable[[str], bool | None],
    ) -> None:
        """Let clients in.

        Args:
            handlers: of the services.
            service_names: full names of the services, for reflection and health.
            is_serving: whether a service serves, None for one that does not exist; "" is the
                server as a whole.

        Raises:
            ConfigError: the address is taken, or not ours.
        """
        server = aio.server(options=self._options)
        server.add_generic_rpc_handlers(tuple(handlers))
        add_HealthServicer_to_server(HealthService(is_serving), server)
        names = (
            *service_names,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            reflection.SERVICE_NAME,
        )
        reflection.enable_server_reflection(names, server, pool=described_pool())
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(self.address)
            else:
                self.port = server.add_secure_port(self.address, self._credentials)
        except RuntimeError as error:
            msg = (
                f"grpc_{self.name}_address {self.address} cannot be listened on: it is taken, "
                "or not an address of this machine."
            )
            raise ConfigError(msg) from error
        await server.start()
        self._server = server

    async def close(self, grace_s: float) -> None:
        """Refuse new calls, and end those that run after a time.

        Args:
            grace_s: how long they may still run.
        """
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_s)


def _options(
    max_message_bytes: int, max_age_ms: int | None, max_age_grace_ms: int | None
) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),  # answers are bounded by max_response_size
        ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server
    ]
    if max_age_ms is not None:
        options.append(("grpc.max_connection_age_ms", max_age_ms))
    if max_age_grace_ms is not None:
        options.append(("grpc.max_connection_age_grace_ms", max_age_grace_ms))
    return options
