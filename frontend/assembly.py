"""Build the parts of a server from its configuration; no part knows where it comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import chain, starmap
from pathlib import Path

from tsl.model_store import ModelStore, ServerDefaults, WorkflowStore

from .addresses import Address
from .auth import RENEWABLE, Authorizer, Permission
from .child_process import without_secrets
from .config import ServerConfig
from .dependencies.environments import ModelEnvironments
from .describe import ModelDescriber
from .devices import DeviceAllocator, find_accelerators
from .http_api.clock import Clock
from .http_api.connection import HttpConnection
from .http_api.context import AccessLog as AccessLogSink
from .http_api.context import HttpContext, HttpLimits
from .http_api.cors import with_preflights
from .http_api.generate import GenerateApi
from .http_api.guard import guarded, guarded_refusal
from .http_api.health import HealthApi
from .http_api.inference import InferenceApi
from .http_api.management import ManagementApi
from .http_api.metrics import MetricsApi
from .http_api.open_inference import OpenInferenceApi
from .http_api.openapi import ApiDescriptions
from .http_api.operations import Operations
from .http_api.repository import RepositoryApi
from .http_api.router import Refusal, Route, Router
from .http_api.routes import (
    common_routes,
    inference_routes,
    management_routes,
    metrics_routes,
    open_inference_routes,
    platform_routes,
    repository_routes,
    settings_routes,
    shared_memory_routes,
    token_routes,
    v1_routes,
    workflow_inference_routes,
    workflow_management_routes,
)
from .http_api.runtime_settings import RuntimeSettingsApi
from .http_api.shared_memory import SharedMemoryApi
from .http_api.token import TokenApi
from .http_api.workflows import WorkflowInference, WorkflowManagement
from .key_file import KEY_FILE_NAME, KeyFile, fixed_keys
from .launcher import ProcessLauncher
from .listeners import Listener
from .logs import fields as logs
from .logs.access_log import AccessLog, JsonAccessLog
from .logs.line_log import LineWriter
from .logs.settings import LogSettings
from .loop_turn import LoopTurn
from .management import ModelManager
from .management_calls import ManagementCalls
from .measuring import Measuring
from .metrics.server_stats import ServerStats
from .metrics.system import SystemMetrics
from .model_repository import ModelRepository
from .open_inference import OpenInference
from .open_inference_parameters import sequence_names_of
from .registry import ModelRegistry
from .shared_memory import SharedMemory
from .snapshots import SnapshotRecorder
from .tls import Certificate, KeyMaterial
from .worker_listener import WorkerListener
from .worker_plans import WorkerPlanner
from .workflows import WorkflowManager


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a running server.

    Attributes:
        named: listener by API name; two names may share one.
        listeners: each of them once.
        recorder: writes snapshots; None with ``--ncs``.
        connections: live client connections of all listeners.
        authorizer: knows the keys; None while tokens are off.
        key_file: where it leaves them for clients.
        open_inference: documents of the Open Inference Protocol.
        repository: loads and unloads models in the words of that protocol.
        certificate: of the listeners with ``https``; None without one.
    """

    registry: ModelRegistry
    store: ModelStore
    planner: WorkerPlanner
    manager: ModelManager
    calls: ManagementCalls
    stats: ServerStats
    recorder: SnapshotRecorder | None
    operations: Operations
    clock: Clock
    connections: set[HttpConnection]
    named: dict[str, Listener]
    listeners: tuple[Listener, ...]
    lines: LineWriter
    system_metrics: SystemMetrics | None
    access_log: AccessLog | JsonAccessLog | None
    authorizer: Authorizer | None
    key_file: KeyFile
    certificate: Certificate | None
    open_inference: OpenInference
    repository: ModelRepository


def assemble(
    config: ServerConfig,
    launcher: ProcessLauncher,
    worker_listener: WorkerListener,
    turn: LoopTurn,
) -> Parts:
    """Build everything; nothing is started and no socket is opened.

    Args:
        config: the configuration.
        launcher: starts workers.
        worker_listener: where workers connect to.
        turn: of the event loop, which all connections share.

    Raises:
        ConfigError: the keys or the certificate that the configuration names cannot be used.
    """
    log_settings = LogSettings.of(config)
    lines = LineWriter(console=bool(log_settings.on_console))
    registry = ModelRegistry()
    devices = DeviceAllocator(find_accelerators(os.environ, config.number_of_gpu))
    connections: set[HttpConnection] = set()
    measuring = Measuring(config, log_settings, lines, registry, connections)
    planner = WorkerPlanner(measuring.worker_config, without_secrets(os.environ), devices)
    store = ModelStore(
        config.model_store,
        config.work_dir,
        allowed_urls=config.allowed_urls,
        defaults=_defaults(config, planner),
        models=config.models,
        environ=os.environ,
    )
    recorder = SnapshotRecorder(config, registry) if config.config_snapshots else None
    manager = ModelManager(
        config=config,
        registry=registry,
        store=store,
        planner=planner,
        launcher=launcher,
        listener=worker_listener,
        metrics=measuring.handlers,
        environments=ModelEnvironments(
            config.work_dir / "environments",
            without_secrets(os.environ),
            installs=config.install_py_dep_per_model,
            tool=config.install_py_dep_tool,
            timeout_s=config.install_py_dep_timeout_s,
        ),
        recorder=recorder,
    )
    operations = Operations()
    calls = ManagementCalls(
        manager,
        ModelDescriber(),
        can_register=config.enable_model_api,
        default_workers=config.default_workers_per_model,
    )
    management = ManagementApi(calls, operations)
    workflows = WorkflowManager(
        manager,
        WorkflowStore(
            config.workflow_store,
            config.work_dir,
            store,
            allowed_urls=config.allowed_urls,
            defaults=_defaults(config, planner),
        ),
        drain_s=config.unregister_model_timeout_s,
    )
    key_file = KeyFile(Path.cwd() / KEY_FILE_NAME)
    authorizer = _authorizer(config, key_file, measuring.stats)
    open_inference = OpenInference(registry, _shared_memory(config))
    repository = ModelRepository(store, registry, calls)
    apis = _Apis(
        config,
        registry,
        management,
        MetricsApi(measuring.board),
        WorkflowInference(workflows),
        WorkflowManagement(workflows, operations, can_download=config.enable_model_api),
        authorizer,
        open_inference,
        RepositoryApi(repository, operations),
    )
    access_log = _access_log(log_settings, lines)
    shared = _Shared(config, measuring.stats, access_log, connections, turn)
    certificate = _certificate(config)
    named = _listeners(config, apis, shared, certificate)
    return Parts(
        registry=registry,
        store=store,
        planner=planner,
        manager=manager,
        calls=calls,
        stats=measuring.stats,
        recorder=recorder,
        operations=operations,
        clock=shared.clock,
        connections=shared.connections,
        named=named,
        listeners=tuple(dict.fromkeys(named.values())),
        lines=lines,
        system_metrics=measuring.system(devices.gpus),
        access_log=access_log,
        authorizer=authorizer,
        key_file=key_file,
        certificate=certificate,
        open_inference=open_inference,
        repository=repository,
    )


def _shared_memory(config: ServerConfig) -> SharedMemory:
    return SharedMemory(
        config.shared_memory if config.ts_open_inference_protocol else "off",
        config.max_shared_memory_size_bytes,
        max_inline_bytes=config.max_request_size_bytes,
        has_envelope=config.service_envelope == "kservev2",
    )


def _access_log(settings: LogSettings, lines: LineWriter) -> AccessLog | JsonAccessLog | None:
    log = settings.open_lines(logs.ACCESS, lines)
    if log is None:
        return None
    return (
        JsonAccessLog(log.add)
        if settings.is_json
        else AccessLog(log.add, with_ids=settings.with_ids)
    )


def _authorizer(config: ServerConfig, key_file: KeyFile, stats: ServerStats) -> Authorizer | None:
    if config.disable_token_authorization:
        return None
    return Authorizer(
        lifetime_s=config.token_expiration_min * 60,
        fixed={Permission(name): key for name, key in fixed_keys(config).items()},
        save=key_file.write,
        stats=stats,
    )


class _Apis:
    """The endpoints, and the route tables made of them."""

    def __init__(
        self,
        config: ServerConfig,
        registry: ModelRegistry,
        management: ManagementApi,
        metrics: MetricsApi,
        workflow_inference: WorkflowInference,
        workflow_management: WorkflowManagement,
        authorizer: Authorizer | None,
        open_inference: OpenInference,
        repository: RepositoryApi,
    ) -> None:
        self._repository = repository
        self._open_inference = config.ts_open_inference_protocol
        self._health_route = config.health_route
        self._predict_route = config.predict_route
        self._registry = registry
        self._inference = InferenceApi(registry)
        names = sequence_names_of(config)
        self._tensors = OpenInferenceApi(registry, open_inference, names)
        self._settings = RuntimeSettingsApi(open_inference.log, open_inference.trace)
        self._generate = GenerateApi(registry, open_inference, names, config.service_envelope or "")
        self._shared_memory = SharedMemoryApi(open_inference.shared_memory)
        self._health = HealthApi(registry)
        self._management = management
        self._metrics = metrics
        self._workflow_inference = workflow_inference
        self._workflow_management = workflow_management
        self._authorizer = authorizer
        self._has_cors = bool(config.cors_allowed_origin)

    def router(self, *names: str) -> Router:
        """Routes for a listener that serves the APIs of these names."""
        titles = " and ".join(name.capitalize() for name in names)
        descriptions = ApiDescriptions(f"tsl {titles} APIs", self._registry)
        health = self._health if "inference" in names else None
        groups: dict[Permission | None, list[Route]] = {None: common_routes(descriptions, health)}
        if "inference" in names:
            first, last = platform_routes(
                self._inference,
                self._health,
                health_route=self._health_route,
                predict_route=self._predict_route,
            )
            if "management" in names:  # one port for both is TorchServe's management port, too
                first += v1_routes(self._health, self._health.v1_model)
            groups[Permission.INFERENCE] = [
                *first,
                *inference_routes(self._inference, self._tensors, self._health, descriptions),
                *self._open_inference_routes(descriptions, names),
                *workflow_inference_routes(self._workflow_inference, descriptions),
                *last,
            ]
        if "management" in names:
            groups[Permission.MANAGEMENT] = management_routes(
                self._management, self._health, descriptions
            ) + workflow_management_routes(self._workflow_management)
            if self._open_inference:
                groups[Permission.MANAGEMENT] += [
                    *repository_routes(self._repository, may_change=True),
                    *settings_routes(self._settings, may_change=True),
                ]
            if self._authorizer is not None:
                groups[Permission.RENEWAL] = token_routes(TokenApi(self._authorizer))
        metrics = metrics_routes(self._metrics)
        descriptions.describe([*chain.from_iterable(groups.values()), *metrics])
        routes = [*chain.from_iterable(starmap(self._protected, groups.items()))]
        if "metrics" in names:
            routes += self._protected(None, metrics)
        return Router(routes, self._refusal(names))

    def _open_inference_routes(
        self, descriptions: ApiDescriptions, names: tuple[str, ...]
    ) -> list[Route]:
        if not self._open_inference:
            return []
        routes = [
            *open_inference_routes(self._tensors, self._generate, self._health, descriptions),
            *shared_memory_routes(self._shared_memory),
        ]
        if "management" in names:  # the tables of that API have the rest
            return [*routes, *settings_routes(self._settings, may_change=None)]
        return [
            *routes,
            *repository_routes(self._repository, may_change=False),
            *settings_routes(self._settings, may_change=False),
        ]

    def _protected(self, permission: Permission | None, routes: list[Route]) -> list[Route]:
        """Routes that ask for the key of a permission, if tokens are on, and answer preflights."""
        is_guarded = permission is not None and self._authorizer is not None
        if permission is not None and self._authorizer is not None:
            routes = guarded(routes, self._authorizer, permission)
        if self._has_cors:
            routes = with_preflights(routes, keep_descriptions=not is_guarded)
        return routes

    def _refusal(self, names: tuple[str, ...]) -> Refusal | None:
        wanted = tuple(each for each in RENEWABLE if each in names)
        if self._authorizer is None or not wanted:
            return None
        return guarded_refusal(self._authorizer, wanted)


class _Shared:
    """What the connections of all listeners share."""

    def __init__(
        self,
        config: ServerConfig,
        stats: ServerStats,
        access_log: AccessLogSink | None,
        connections: set[HttpConnection],
        turn: LoopTurn,
    ) -> None:
        self._config = config
        self._turn = turn
        self._stats = stats
        self._access_log = access_log
        self.clock = Clock()
        self.connections = connections

    def context(self, router: Router) -> HttpContext:
        """A context for one listener."""
        config = self._config
        return HttpContext(
            router=router,
            limits=HttpLimits(
                request_line_bytes=config.max_request_line_size_bytes,
                header_bytes=config.max_header_size_bytes,
                body_bytes=config.max_request_size_bytes,
                keep_alive_s=config.keep_alive_timeout_s,
                request_read_s=config.request_read_timeout_s,
                client_write_s=config.client_write_timeout_s,
                connections=config.max_connections,
            ),
            clock=self.clock,
            stats=self._stats,
            access_log=self._access_log,
            cors=(
                ("access-control-allow-origin", config.cors_allowed_origin),
                ("access-control-allow-methods", config.cors_allowed_methods),
                ("access-control-allow-headers", config.cors_allowed_headers),
            ),
            withholds_authorization=not config.disable_token_authorization,
            standard_status_codes=config.status_codes == "standard",
            connections=self.connections,
            turn=self._turn,
        )


def _certificate(config: ServerConfig) -> Certificate | None:
    """The certificate, if an address needs one."""
    addresses = [config.inference_address, config.management_address]
    if config.enable_metrics_api:
        addresses.append(config.metrics_address)
    if not any(address.scheme == "https" for address in addresses):
        return None
    return Certificate(
        KeyMaterial(
            keystore=config.keystore,
            keystore_pass=config.keystore_pass,
            keystore_type=config.keystore_type,
            private_key_file=config.private_key_file,
            certificate_file=config.certificate_file,
        )
    )


def _listeners(
    config: ServerConfig, apis: _Apis, shared: _Shared, certificate: Certificate | None
) -> dict[str, Listener]:
    """Listener by API name; APIs with equal addresses share one."""
    addresses = {
        "inference": config.inference_address,
        "management": config.management_address,
    }
    if config.enable_metrics_api:
        addresses["metrics"] = config.metrics_address
    listeners: dict[Address, Listener] = {}
    for address in addresses.values():
        names = [name for name, own in addresses.items() if own == address]
        # One port for both is meant to be the only one: metrics are there, too, as in TorchServe.
        if {"inference", "management"} <= set(names) and config.enable_metrics_api:
            names = [*addresses]
        if address not in listeners:
            tls = certificate.context if certificate and address.scheme == "https" else None
            listeners[address] = Listener(address, shared.context(apis.router(*names)), tls)
    return {name: listeners[address] for name, address in addresses.items()}


def _defaults(config: ServerConfig, planner: WorkerPlanner) -> ServerDefaults:
    return ServerDefaults(
        workers=config.default_workers_per_model,
        startup_workers=config.default_workers_per_model or planner.default_workers,
        response_timeout_s=config.default_response_timeout_s,
        startup_timeout_s=config.default_startup_timeout_s,
        job_queue_size=config.job_queue_size,
        job_queue_bytes=config.job_queue_bytes,
        batch_policy=config.default_batch_policy,
        service_handler=config.default_service_handler or None,
    )
