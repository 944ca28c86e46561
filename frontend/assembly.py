"""Build the parts of a server from its configuration; no part knows where it comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tsl.model_store import ModelStore, ServerDefaults

from .access_log import AccessLog
from .config import ServerConfig
from .devices import DeviceAllocator, count_gpus
from .http_api.clock import Clock
from .http_api.connection import HttpConnection
from .http_api.context import HttpContext, HttpLimits
from .http_api.describe import ModelDescriber
from .http_api.health import HealthApi
from .http_api.inference import InferenceApi
from .http_api.management import ManagementApi
from .http_api.metrics import MetricsApi
from .http_api.openapi import ApiDescriptions
from .http_api.operations import Operations
from .http_api.router import Route, Router
from .http_api.routes import common_routes, inference_routes, management_routes, metrics_routes
from .launcher import ProcessLauncher
from .line_log import LineLog
from .listeners import Listener
from .management import ModelManager
from .metrics import MetricsPage, ModelMetricsLog, ServerStats
from .registry import ModelRegistry
from .snapshots import SnapshotRecorder
from .worker_listener import WorkerListener
from .worker_plans import WorkerPlanner


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a running server.

    Attributes:
        named: listener by API name; two names may share one.
        listeners: each of them once.
        recorder: writes snapshots; None with ``--ncs``.
        connections: live client connections of all listeners.
    """

    registry: ModelRegistry
    store: ModelStore
    planner: WorkerPlanner
    manager: ModelManager
    recorder: SnapshotRecorder | None
    operations: Operations
    clock: Clock
    connections: set[HttpConnection]
    named: dict[str, Listener]
    listeners: tuple[Listener, ...]
    logs: tuple[LineLog, ...]

    def close_logs(self) -> None:
        """Write what is pending."""
        for log in self.logs:
            log.close()


def assemble(
    config: ServerConfig, launcher: ProcessLauncher, worker_listener: WorkerListener
) -> Parts:
    """Build everything; nothing is started and no socket is opened."""
    access = LineLog(config.log_location / "access_log.log", console=True)
    model_metrics = LineLog(config.metrics_location / "model_metrics.log", console=False)
    registry = ModelRegistry()
    devices = DeviceAllocator(count_gpus(os.environ, config.number_of_gpu))
    planner = WorkerPlanner(config, os.environ, devices)
    store = ModelStore(
        config.model_store,
        config.work_dir,
        allowed_urls=config.allowed_urls,
        defaults=_defaults(config, planner),
        models=config.models,
    )
    recorder = SnapshotRecorder(config, registry) if config.config_snapshots else None
    manager = ModelManager(
        config=config,
        registry=registry,
        store=store,
        planner=planner,
        launcher=launcher,
        listener=worker_listener,
        metrics=ModelMetricsLog(model_metrics),
        recorder=recorder,
    )
    operations = Operations()
    management = ManagementApi(
        manager,
        ModelDescriber(),
        can_register=config.enable_model_api,
        default_workers=config.default_workers_per_model,
        operations=operations,
    )
    stats = ServerStats()
    apis = _Apis(config, registry, management, MetricsApi(MetricsPage(stats, config.metrics_mode)))
    shared = _Shared(config, stats, AccessLog(access))
    named = _listeners(config, apis, shared)
    return Parts(
        registry=registry,
        store=store,
        planner=planner,
        manager=manager,
        recorder=recorder,
        operations=operations,
        clock=shared.clock,
        connections=shared.connections,
        named=named,
        listeners=tuple(dict.fromkeys(named.values())),
        logs=(access, model_metrics),
    )


class _Apis:
    """The endpoints, and the route tables made of them."""

    def __init__(
        self,
        config: ServerConfig,
        registry: ModelRegistry,
        management: ManagementApi,
        metrics: MetricsApi,
    ) -> None:
        self._open_inference = config.ts_open_inference_protocol
        self._registry = registry
        self._inference = InferenceApi(registry)
        self._health = HealthApi(registry)
        self._management = management
        self._metrics = metrics

    def router(self, *names: str) -> Router:
        """Routes for a listener that serves the APIs of these names."""
        titles = " and ".join(name.capitalize() for name in names)
        descriptions = ApiDescriptions(f"tsl {titles} APIs", self._registry)
        health = self._health if "inference" in names else None
        routes: list[Route] = common_routes(descriptions, health)
        if "inference" in names:
            routes += inference_routes(
                self._inference, self._health, descriptions, open_inference=self._open_inference
            )
        if "management" in names:
            routes += management_routes(self._management, self._health, descriptions)
        documented = [*routes, *metrics_routes(self._metrics)]
        if "metrics" in names:
            routes = documented
        descriptions.describe(documented)
        return Router(routes)


class _Shared:
    """What the connections of all listeners share."""

    def __init__(self, config: ServerConfig, stats: ServerStats, access_log: AccessLog) -> None:
        self._config = config
        self._stats = stats
        self._access_log = access_log
        self.clock = Clock()
        self.connections: set[HttpConnection] = set()

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
            standard_status_codes=config.status_codes == "standard",
            connections=self.connections,
        )


def _listeners(config: ServerConfig, apis: _Apis, shared: _Shared) -> dict[str, Listener]:
    """Listener by API name."""
    metrics = ("metrics",) if config.enable_metrics_api else ()
    named: dict[str, Listener] = {}
    if config.inference_address == config.management_address:
        router = apis.router("inference", "management", *metrics)
        both = Listener(config.inference_address, shared.context(router))
        named = {"inference": both, "management": both}
    else:
        for name, address in (
            ("inference", config.inference_address),
            ("management", config.management_address),
        ):
            named[name] = Listener(address, shared.context(apis.router(name)))
    if metrics:
        taken = {listener.address: listener for listener in named.values()}
        named["metrics"] = taken.get(config.metrics_address) or Listener(
            config.metrics_address, shared.context(apis.router("metrics"))
        )
    return named


def _defaults(config: ServerConfig, planner: WorkerPlanner) -> ServerDefaults:
    return ServerDefaults(
        workers=config.default_workers_per_model,
        startup_workers=config.default_workers_per_model or planner.default_workers,
        response_timeout_s=config.default_response_timeout_s,
        startup_timeout_s=config.default_startup_timeout_s,
        job_queue_size=config.job_queue_size,
        job_queue_bytes=config.job_queue_bytes,
        service_handler=config.default_service_handler or None,
    )
