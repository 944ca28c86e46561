"""The two gRPC listeners of a server, from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from tsl.protocol.errors import ConfigError

from ..auth import Authorizer, Permission
from ..config import ServerConfig
from ..http_api.context import Stats
from ..http_api.health import is_ready
from ..management_calls import ManagementCalls
from ..model_repository import ModelRepository
from ..open_inference import OpenInference
from ..open_inference_parameters import sequence_names_of
from ..registry import ModelRegistry
from .inference import InferenceService
from .management import ManagementService
from .open_inference import OpenInferenceService
from .protos.inference_pb2 import DESCRIPTOR as INFERENCE
from .protos.management_pb2 import DESCRIPTOR as MANAGEMENT
from .protos.open_inference_pb2 import DESCRIPTOR as OPEN_INFERENCE
from .server import GrpcListener
from .service import CallLog, Guard, ServiceContext, handlers_of

STANDARD_NAME: Final = "inference.GRPCInferenceService"
"""What KServe and Triton call the service; TorchServe has it in a package of its own."""


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
    ) -> None:
        self._config = config
        self._registry = registry
        sequence_names = sequence_names_of(config)
        inference = InferenceService(registry, stats, sequence_names)
        contexts = [
            ServiceContext(_guard(authorizer, permission), log)
            for permission in (Permission.INFERENCE, Permission.MANAGEMENT)
        ]
        services: tuple[tuple[ServiceDescriptor, object], ...] = (
            (INFERENCE.services_by_name["InferenceAPIsService"], inference),
            (MANAGEMENT.services_by_name["ManagementAPIsService"], ManagementService(calls)),
        )
        self._handlers = [
            [handlers_of(service, servicer, context)]
            for (service, servicer), context in zip(services, contexts, strict=True)
        ]
        self._names = [[service.full_name] for service, _ in services]
        if config.ts_open_inference_protocol:
            service = OPEN_INFERENCE.services_by_name["GRPCInferenceService"]
            for handlers, names, context, manages in zip(
                self._handlers, self._names, contexts, (False, True), strict=True
            ):
                servicer = OpenInferenceService(
                    registry, open_inference, stats, repository, sequence_names, manages=manages
                )
                for name in (service.full_name, STANDARD_NAME):
                    handlers.append(handlers_of(service, servicer, context, name))
                    names.append(name)
        self.listeners: tuple[GrpcListener, ...] = ()

    async def open(self) -> None:
        """Let clients in on both addresses.

        Raises:
            ConfigError: an address is taken, or certificate or key cannot be used.
        """
        config = self._config
        credentials = _credentials(config) if config.enable_grpc_ssl else None
        self.listeners = (
            GrpcListener(
                "inference",
                config.grpc_inference_address,
                config.grpc_inference_port,
                max_message_bytes=config.max_request_size_bytes,
                max_age_ms=config.grpc_inference_max_connection_age_ms,
                max_age_grace_ms=config.grpc_inference_max_connection_age_grace_ms,
                credentials=credentials,
            ),
            GrpcListener(
                "management",
                config.grpc_management_address,
                config.grpc_management_port,
                max_message_bytes=config.max_request_size_bytes,
                max_age_ms=config.grpc_management_max_connection_age_ms,
                max_age_grace_ms=config.grpc_management_max_connection_age_grace_ms,
                credentials=credentials,
            ),
        )
        for listener, handlers, names in zip(
            self.listeners, self._handlers, self._names, strict=True
        ):
            await listener.open(handlers, names, self._is_serving)

    async def close(self, grace_s: float) -> None:
        """Refuse new calls; end those that run after a time.

        Args:
            grace_s: how long they may still run.
        """
        for listener in self.listeners:
            await listener.close(grace_s)

    def _is_serving(self, service: str) -> bool | None:
        if service and not any(service in names for names in self._names):
            return None
        return all(is_ready(served) for served in self._registry.defaults())


def _guard(authorizer: Authorizer | None, permission: Permission) -> Guard | None:
    if authorizer is None:
        return None

    def check(authorization: bytes, peer: bytes) -> None:
        authorizer.check(authorization, permission, peer)

    return check


def _credentials(config: ServerConfig) -> grpc.ServerCredentials:
    key, certificate = config.private_key_file, config.certificate_file
    if key is None or certificate is None:
        raise ConfigError("enable_grpc_ssl needs private_key_file and certificate_file.")
    return grpc.ssl_server_credentials([(_read(key), _read(certificate))])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
