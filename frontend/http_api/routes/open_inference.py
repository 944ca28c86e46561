"""Routes of the Open Inference Protocol.

``infer`` and ``explain`` without a version are TorchServe's and always there; everything else is
served with ``ts_open_inference_protocol`` only, because other servers answer 404 without it.
"""

from __future__ import annotations

from typing import Any, Final

from ..generate import GenerateApi
from ..health import HealthApi
from ..open_inference import OpenInferenceApi
from ..openapi import ApiDescriptions
from ..repository import RepositoryApi
from ..router import Endpoint, Operation, Route
from ..runtime_settings import RuntimeSettingsApi
from .schemas import run_operation

_OBJECT: Final[dict[str, Any]] = {"type": "object"}
_FOUND: Final = {"200": "It is there.", "404": "There is no such model or version."}
_MODEL: Final = "/v2/models/{model_name}"
_VERSION: Final = "/v2/models/{model_name}/versions/{model_version}"


def open_inference_routes(
    api: OpenInferenceApi, generate: GenerateApi, health: HealthApi, descriptions: ApiDescriptions
) -> list[Route]:
    """Health, metadata, statistics, models by their version, and text in and out.

    Args:
        api: the endpoints.
        generate: those for text.
        health: liveness and readiness of the server.
        descriptions: answers ``OPTIONS`` on the paths of a model.
    """
    options = descriptions.inference_model
    routes = [
        Route(path="/v2", methods={"*": api.server}),
        Route(path="/v2/health/live", methods={"*": health.v2_live}),
        Route(path="/v2/health/ready", methods={"*": health.v2_ready}),
        _get("/v2/models", health.v1_models, "v2List", "The names of the models (KServe v2)."),
        _get("/v2/models/stats", api.statistics, "v2Statistics", "What was counted of all models."),
    ]
    for path, name in ((_MODEL, "v2"), (_VERSION, "version_v2")):
        routes += [
            _get(path, api.model, f"{name}Model", "What a model is, and its tensors."),
            _get(f"{path}/ready", api.ready, f"{name}Ready", "Whether a model can be used."),
            _get(f"{path}/config", api.config, f"{name}Config", "A model's configuration."),
            _get(f"{path}/stats", api.statistics, f"{name}ModelStatistics", "What was counted."),
            _post(f"{path}/generate", generate.generate, f"{name}Generate", "Text in, text out."),
            _post(
                f"{path}/generate_stream",
                generate.generate_stream,
                f"{name}GenerateStream",
                "Text in, a stream of events out.",
            ),
        ]
    return [
        *routes,
        Route(path=f"{_VERSION}/infer", methods={"OPTIONS": options, "POST": api.infer}),
        Route(path=f"{_VERSION}/explain", methods={"OPTIONS": options, "POST": api.explain}),
    ]


def repository_routes(api: RepositoryApi, *, may_change: bool) -> list[Route]:
    """The repository extension.

    Args:
        api: the endpoints.
        may_change: whether callers of this listener may load and unload models.
    """
    changed = {
        "200": "Done.",
        "404": "There is no such model.",
        "405": "Registering and unregistering is switched off.",
        "500": "A worker cannot load the model.",
    }
    index, load, unload = (
        (api.index, api.load, api.unload) if may_change else (api.served, api.refuse, api.refuse)
    )
    endpoints = (
        ("index", index, "v2RepositoryIndex", "What there is.", {"200": "The index."}),
        ("models/{model_name}/load", load, "v2Load", "Serve a model.", changed),
        ("models/{model_name}/unload", unload, "v2Unload", "Stop serving it.", changed),
    )
    return [
        Route(
            path=f"/v2/repository/{path}",
            methods={"POST": endpoint},
            operations={"post": Operation(id=name, summary=summary, responses=responses)},
        )
        for path, endpoint, name, summary, responses in endpoints
    ]


def settings_routes(api: RuntimeSettingsApi, *, may_change: bool | None) -> list[Route]:
    """Log and trace settings.

    Args:
        api: the endpoints.
        may_change: whether callers of this listener may change them; None where another table of
            the same listener has that.
    """
    paths = (
        ("/v2/logging", api.log, api.update_log, "v2LogSettings", "log"),
        ("/v2/trace/setting", api.trace, api.update_trace, "v2TraceSettings", "trace"),
        (f"{_MODEL}/trace/setting", api.trace, api.update_trace, "v2ModelTraceSettings", "trace"),
    )
    routes = []
    for path, show, change, name, kind in paths:
        methods: dict[str, Endpoint] = {"GET": show}
        if may_change is not None:
            methods["POST"] = change if may_change else api.refuse
        summary = f"The {kind} settings; POST changes some, on the management listener."
        operation = Operation(id=name, summary=summary, responses=_FOUND, answer=_OBJECT)
        routes.append(Route(path=path, methods=methods, operations={"get": operation}))
    return routes


def _get(path: str, endpoint: Endpoint, operation_id: str, summary: str) -> Route:
    operation = Operation(id=operation_id, summary=summary, responses=_FOUND, answer=_OBJECT)
    return Route(path=path, methods={"GET": endpoint}, operations={"get": operation})


def _post(path: str, endpoint: Endpoint, operation_id: str, summary: str) -> Route:
    operation = run_operation(operation_id, summary)
    return Route(path=path, methods={"POST": endpoint}, operations={"post": operation})
