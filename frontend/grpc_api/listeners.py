"""The two gRPC listeners of a server, from its configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

from tsl.protocol.errors import ConfigError

from ..auth import Authorizer, Permission
from ..config import ServerConfig
from ..http_api.context import Stats
from ..http_api.health import is_ready
from ..loop_turn import LoopTurn
from ..management_calls import ManagementCalls
from ..model_repository import ModelRepository
from ..open_inference import OpenInference
from ..open_inference_parameters import sequence_names_of
from ..registry import ModelRegistry
from ..tls import Certificate, KeyMaterial
from .health import SERVICE as HEALTH
from .health import HealthService
from .inference import InferenceService
from .management import ManagementService
from .open_inference import OpenInferenceService
from .protos.inference_pb2 import DESCRIPTOR as INFERENCE
from .protos.management_pb2 import DESCRIPTOR as MANAGEMENT
from .protos.open_inference_pb2 import DESCRIPTOR as OPEN_INFERENCE
from .reflection import NEWER_NAME, ReflectionService
from .reflection import SERVICE as REFLECTION
from .server import GrpcListener
from .service import Method, methods_of
from .session import CallLog, Guard, ServedMethods

STANDARD_NAME: Final = "inference.GRPCInferenceService"
"""What KServe and Triton call the service; TorchServe has it in a package of its own."""
MIN_METADATA_BYTES: Final = 16 * 1024
"""Metadata of a call may have this much, even if ``max_header_size`` says less."""


class GrpcApis:
    """The gRPC inference and management APIs.

    Args:
        config: addresses, limits, encryption.
        registry: what is served.
        calls: the management operations.
        stats: counts jobs and answers.
        authorizer: checks tokens; None when they are off.
        log: the access log; None when it is off.
        open_inference: documents of the Open Inference Protocol.
        repository: loads and unloads models, on the management listener.
        turn: of the event loop.
    """

    def __init__(
        self,
        config: ServerConfig,
        registry: ModelRegistry,
        calls: ManagementCalls,
        stats: Stats,
        authorizer: Authorizer | None,
        log: CallLog | None,
        open_inference: OpenInference,
        repository: ModelRepository,
        turn: LoopTurn,
    ) -> None:
        self._config = config
        self._turn = turn
        self._registry = registry
        sequence_names = sequence_names_of(config)
        inference = InferenceService(registry, stats, sequence_names)
        self._log = log
        self._services: list[_Services] = [
            _Services("inference", _guard(authorizer, Permission.INFERENCE)),
            _Services("management", _guard(authorizer, Permission.MANAGEMENT)),
        ]
        first, second = self._services
        first.add(INFERENCE.services_by_name["InferenceAPIsService"], inference)
        second.add(MANAGEMENT.services_by_name["ManagementAPIsService"], ManagementService(calls))
        if config.ts_open_inference_protocol:
            service = OPEN_INFERENCE.services_by_name["GRPCInferenceService"]
            for services, manages in ((first, False), (second, True)):
                servicer = OpenInferenceService(
                    registry, open_inference, stats, repository, sequence_names, manages=manages
                )
                for name in (service.full_name, STANDARD_NAME):
                    services.add(service, servicer, name)
        self._certificate: Certificate | None = None
        self._stopping = asyncio.Event()
        self.listeners: tuple[GrpcListener, ...] = ()

    async def open(self) -> None:
        """Let clients in on both addresses.

        Raises:
            ConfigError: an address is taken, or certificate or key cannot be used.
        """
        config = self._config
        if config.enable_grpc_ssl:
            self._certificate = _certificate(config)
        inference, management = self._services
        self.listeners = (
            self._listener(
                inference,
                config.grpc_inference_address,
                config.grpc_inference_port,
                config.grpc_inference_max_connection_age_ms,
                config.grpc_inference_max_connection_age_grace_ms,
            ),
            self._listener(
                management,
                config.grpc_management_address,
                config.grpc_management_port,
                config.grpc_management_max_connection_age_ms,
                config.grpc_management_max_connection_age_grace_ms,
            ),
        )
        for listener in self.listeners:
            await listener.open()

    def refresh(self) -> None:
        """Use a certificate that has changed; called once a second."""
        if self._certificate is not None:
            self._certificate.refresh()

    async def close(self, grace_s: float) -> None:
        """Refuse new calls; end those that run after a time.

        Args:
            grace_s: how long they may still run.
        """
        self._stopping.set()
        await asyncio.gather(*(listener.close(grace_s) for listener in self.listeners))

    def _listener(
        self, services: _Services, host: str, port: int, age_ms: int | None, grace_ms: int | None
    ) -> GrpcListener:
        config = self._config
        served = ServedMethods(
            services.methods,
            services.for_tools(self._is_serving, self._stopping),
            guard=services.guard,
            log=self._log,
            max_message_bytes=config.max_request_size_bytes,
            max_metadata_bytes=max(MIN_METADATA_BYTES, config.max_header_size_bytes),
        )
        return GrpcListener(
            services.name,
            host,
            port,
            served,
            self._turn,
            max_connections=config.max_connections,
            write_s=config.client_write_timeout_s,
            max_age_ms=age_ms,
            max_age_grace_ms=grace_ms,
            tls=self._certificate.context if self._certificate is not None else None,
        )

    def _is_serving(self, service: str) -> bool | None:
        if service and not any(service in services.names for services in self._services):
            return None
        return not self._stopping.is_set() and all(
            is_ready(served) for served in self._registry.defaults()
        )


class _Services:
    """The services of one listener.

    Args:
        name: of the listener.
        guard: checks tokens; None when they are off.
    """

    def __init__(self, name: str, guard: Guard | None) -> None:
        self.name = name
        self.guard = guard
        self.methods: dict[bytes, Method] = {}
        self.names: list[str] = []

    def add(self, service: ServiceDescriptor, servicer: object, name: str = "") -> None:
        """Serve a service, under its own name or another."""
        self.methods |= methods_of(service, servicer, name)
        self.names.append(name or service.full_name)

    def for_tools(
        self, is_serving: Callable[[str], bool | None], stopping: asyncio.Event
    ) -> dict[bytes, Method]:
        """Health and reflection, which need no token."""
        reflection = ReflectionService([*self.names, HEALTH.full_name, REFLECTION.full_name])
        return {
            **methods_of(HEALTH, HealthService(is_serving, stopping)),
            **methods_of(REFLECTION, reflection),
            **methods_of(REFLECTION, reflection, NEWER_NAME),
        }


def _guard(authorizer: Authorizer | None, permission: Permission) -> Guard | None:
    if authorizer is None:
        return None

    def check(authorization: bytes, peer: bytes) -> None:
        authorizer.check(authorization, permission, peer)

    return check


def _certificate(config: ServerConfig) -> Certificate:
    key, certificate = config.private_key_file, config.certificate_file
    if key is None or certificate is None:
        raise ConfigError("enable_grpc_ssl needs private_key_file and certificate_file.")
    return Certificate(KeyMaterial(private_key_file=key, certificate_file=certificate), "h2")
