"""Liveness and readiness: ``/ping``, KServe v1 and the Open Inference Protocol's routes."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

from ..registry import ModelRegistry, ServedModel
from .exchange import Exchange
from .router import Params

UNHEALTHY: Final = 500
"""What TorchServe answers on ``/ping`` when a model has too few workers."""
NOT_READY: Final = 503
HEALTHY: Final = "Healthy"


class HealthApi:
    """Endpoints that tell how the server is.

    Args:
        registry: what is served.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def ping(self, exchange: Exchange, params: Params) -> None:
        """``/ping``: TorchServe's health; ``/ping?ready=true`` the truth about readiness.

        Healthy means that the default version of each model has its ``minWorkers``, where a
        worker that starts, loads, or is being restarted counts. Ready means that these workers
        can be used now.
        """
        query = parse_qs(exchange.request.target.partition(b"?")[2].decode("latin-1"))
        if query.get("ready", [""])[-1].lower() == "true":
            self.ready(exchange, params)
            return
        text = health_of(self._registry)
        exchange.respond_json({"status": text}, 200 if text == HEALTHY else UNHEALTHY)

    def ready(self, exchange: Exchange, params: Params) -> None:
        """Whether every model can be used now (``health_route``)."""
        del params
        missing = [s for s in self._registry.defaults() if not is_ready(s)]
        document: dict[str, Any] = {"status": "Not ready" if missing else "Ready"}
        if missing:
            document["models"] = [
                {
                    "modelName": served.version.name,
                    "readyWorkers": served.pool.ready_count,
                    "minWorkers": served.pool.min_workers,
                }
                for served in missing
            ]
        exchange.respond_json(document, NOT_READY if missing else 200)

    def alive(self, exchange: Exchange, params: Params) -> None:
        """``GET /`` of KServe v1."""
        del params
        exchange.respond_json({"status": "alive"})

    def v1_models(self, exchange: Exchange, params: Params) -> None:
        """``GET /v1/models``: names of the models, without the functions of workflows."""
        del params
        versions = [served.version for served in self._registry.defaults()]
        exchange.respond_json({"models": [v.name for v in versions if not v.is_function]})

    def v1_model(self, exchange: Exchange, params: Params) -> None:
        """``GET /v1/models/{model_name}``: whether the model can be used now."""
        served = self._registry.get(params["model_name"])
        exchange.respond_json({"name": served.version.name, "ready": served.pool.ready_count > 0})

    def v1_ready(self, exchange: Exchange, params: Params) -> None:
        """The same on the inference listener, as KServe's own servers say it: 503 while it cannot.

        TorchServe has this path on its management listener, and always answers 200.
        """
        served = self._registry.get(params["model_name"])
        ready = served.pool.ready_count > 0
        document = {"name": served.version.name, "ready": ready}
        exchange.respond_json(document, 200 if ready else NOT_READY)

    def v2_live(self, exchange: Exchange, params: Params) -> None:
        """``/v2/health/live``: this server answers."""
        del params
        exchange.respond_json({"live": True})

    def v2_ready(self, exchange: Exchange, params: Params) -> None:
        """``/v2/health/ready``: every model can be used now; 503 while not."""
        del params
        ready = all(is_ready(served) for served in self._registry.defaults())
        exchange.respond_json({"ready": ready}, 200 if ready else NOT_READY)


def health_of(registry: ModelRegistry) -> str:
    """TorchServe's word for the health of all models: ``Healthy`` or ``Unhealthy``."""
    is_healthy = all(served.pool.is_healthy for served in registry.defaults())
    return HEALTHY if is_healthy else "Unhealthy"


def is_ready(served: ServedModel) -> bool:
    """Whether a model has all the workers it should have, loaded."""
    return served.pool.ready_count >= served.pool.min_workers
