"""The route tables of the three listeners: what is served, and how it is described.

Order is precedence. ``*`` among the methods means any method: TorchServe's inference API does not
look at it. An alias has no `Operation` and stays out of the description.
"""

from __future__ import annotations

from typing import Any, Final

from .health import HealthApi
from .inference import InferenceApi
from .management import ManagementApi
from .metrics import MetricsApi
from .openapi import ApiDescriptions
from .router import Endpoint, Operation, Route
from .token import TokenApi

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_COUNT: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_FLAG: Final[dict[str, Any]] = {"type": "boolean"}
_STATUS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string"}},
}
_MODEL_LIST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["models"],
    "properties": {
        "nextPageToken": {"type": "string"},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["modelName", "modelUrl"],
                "properties": {"modelName": {"type": "string"}, "modelUrl": {"type": "string"}},
            },
        },
    },
}
_DESCRIPTION: Final[dict[str, Any]] = {"type": "array", "items": {"type": "object"}}
_READINESS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "ready"],
    "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
}
_KEY_NAME: Final[dict[str, Any]] = {"type": "string", "enum": ["inference", "management"]}
_KEY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["key", "expiration time"],
    "properties": {"key": {"type": "string"}, "expiration time": {"type": "string"}},
}
_OPENAPI: Final[dict[str, Any]] = {"type": "object"}

_INPUT: Final = "The input of the model: raw bytes, JSON, text, or a form of several parts."
_RUN: Final = {
    "200": "The model's answer; its type and form are the handler's.",
    "400": "The request is not valid.",
    "404": "There is no such model or version.",
    "413": "The body is larger than max_request_size.",
    "500": "The worker died, or did not answer in time.",
    "503": "The handler failed, the queue is full, or the model has no worker.",
    "507": "The handler ran out of memory.",
}
_CHANGE: Final = {
    "200": "Done.",
    "202": "Under way: synchronous=false.",
    "400": "A parameter is not valid.",
    "404": "There is no such model or version.",
    "500": "A worker cannot load the model.",
}


def inference_routes(
    inference: InferenceApi,
    health: HealthApi,
    descriptions: ApiDescriptions,
    *,
    open_inference: bool,
) -> list[Route]:
    """Routes of the inference listener.

    Args:
        inference: runs models.
        health: liveness and readiness.
        descriptions: answers ``OPTIONS`` on the paths of a model.
        open_inference: serve ``/v2`` and its health routes (``ts_open_inference_protocol``).
    """
    options = descriptions.inference_model
    routes = [
        Route(
            path="/ping",
            methods={"*": health.ping},
            operations={
                "get": Operation(
                    id="ping",
                    summary="Whether every model has its workers.",
                    query=(("ready", _FLAG, "Ask whether they can be used this very moment."),),
                    responses={
                        "200": "Healthy.",
                        "500": "Some model has too few workers.",
                        "503": "Not ready (only with ready=true).",
                    },
                    answer=_STATUS,
                )
            },
        ),
        Route(path="/ping/{rest...}", methods={"*": health.ping}),
        *_model_routes("predictions", "Run a model.", inference.predict, options),
        *_model_routes("explanations", "Explain an answer.", inference.explain, options),
        Route(
            path="/v1/models/{model_name}:predict",
            methods={"OPTIONS": options, "*": inference.protocol_predict},
            operations={"post": _run("kserveV1Predict", "Run a model (KServe v1).")},
        ),
        Route(
            path="/v1/models/{model_name}:explain",
            methods={"OPTIONS": options, "*": inference.protocol_explain},
            operations={"post": _run("kserveV1Explain", "Explain an answer (KServe v1).")},
        ),
        _v1_readiness(health),
        Route(
            path="/v2/models/{model_name}/infer",
            methods={"OPTIONS": options, "*": inference.protocol_predict},
            operations={"post": _run("kserveV2Infer", "Run a model (KServe v2).")},
        ),
        Route(
            path="/v2/models/{model_name}/explain",
            methods={"OPTIONS": options, "*": inference.protocol_explain},
            operations={"post": _run("kserveV2Explain", "Explain an answer (KServe v2).")},
        ),
        Route(
            path="/invocations",
            methods={"*": inference.invocations},
            operations={
                "post": Operation(
                    id="invocations",
                    summary="Run a model (SageMaker).",
                    query=(("model_name", _TEXT, "Which model; needed when there are several."),),
                    body=_INPUT,
                    responses=_RUN,
                )
            },
        ),
        Route(
            path="/models/{model_name}/invoke",
            methods={"*": inference.invoke},
            operations={"post": _run("invoke", "Run a model (SageMaker, several models).")},
        ),
        Route(path="/{model_name}/predict", methods={"*": inference.invoke}),
        Route(path="/{model_name}/{model_version}/predict", methods={"*": inference.invoke}),
    ]
    if open_inference:
        routes += [
            Route(path="/v2", methods={"*": health.v2_server}),
            Route(path="/v2/health/live", methods={"*": health.v2_live}),
            Route(path="/v2/health/ready", methods={"*": health.v2_ready}),
        ]
    return routes


def management_routes(
    management: ManagementApi, health: HealthApi, descriptions: ApiDescriptions
) -> list[Route]:
    """Routes of the management listener."""
    scale_query = (
        ("min_worker", _COUNT, "Start workers until there are so many; default 1."),
        ("max_worker", _COUNT, "Stop workers beyond so many; default min_worker."),
        ("number_gpu", _COUNT, "Accepted and not used, as by TorchServe."),
        ("synchronous", _FLAG, "Answer when it is done; default false."),
        ("timeout", _COUNT, "Accepted and not used, as by TorchServe."),
    )
    customized = (("customized", _FLAG, "Ask the handler to describe itself."),)
    return [
        Route(
            path="/models",
            methods={"GET": management.list_models, "POST": management.register},
            operations={
                "get": Operation(
                    id="listModels",
                    summary="The models being served.",
                    query=(
                        ("limit", _COUNT, "Models per page, 100 at most."),
                        ("next_page_token", _TEXT, "nextPageToken of the page before."),
                    ),
                    responses={"200": "A page of models."},
                    answer=_MODEL_LIST,
                ),
                "post": Operation(
                    id="registerModel",
                    summary="Serve another model version.",
                    query=(
                        ("url", _TEXT, "File or folder in the model store, or an allowed URL."),
                        ("model_name", _TEXT, "Default: the manifest's."),
                        ("handler", _TEXT, "Default: the manifest's."),
                        ("runtime", _TEXT, "Default: the manifest's."),
                        ("batch_size", _COUNT, "Jobs per batch; default 1."),
                        ("max_batch_delay", _COUNT, "Milliseconds a batch waits; default 100."),
                        ("response_timeout", _COUNT, "Seconds; default 120."),
                        ("startup_timeout", _COUNT, "Seconds; default 120."),
                        ("initial_workers", _COUNT, "Workers to start; default 0."),
                        ("synchronous", _FLAG, "Answer when they are ready; default true."),
                        ("s3_sse_kms", _FLAG, "Accepted and not used."),
                    ),
                    responses={**_CHANGE, "409": "The version is registered already."},
                    answer=_STATUS,
                ),
            },
        ),
        Route(
            path="/models/{model_name}",
            methods={
                "GET": management.describe,
                "PUT": management.scale,
                "DELETE": management.unregister,
                "OPTIONS": descriptions.management_model,
            },
            operations={
                "get": Operation(
                    id="describeModel",
                    summary="The default version of a model.",
                    query=customized,
                    responses={"200": "One description.", "404": "There is no such model."},
                    answer=_DESCRIPTION,
                ),
                "put": Operation(
                    id="setAutoScale",
                    summary="Change the number of workers.",
                    query=scale_query,
                    responses=_CHANGE,
                    answer=_STATUS,
                ),
                "delete": Operation(
                    id="unregisterModel",
                    summary="Stop serving the default version of a model.",
                    responses={"200": "Done.", "404": "There is no such model."},
                    answer=_STATUS,
                ),
            },
        ),
        Route(
            path="/models/{model_name}/{model_version}",
            methods={
                "GET": management.describe,
                "PUT": management.scale,
                "DELETE": management.unregister,
                "OPTIONS": descriptions.management_model,
            },
            operations={
                "get": Operation(
                    id="version_describeModel",
                    summary="A version of a model; `all` for every version.",
                    query=customized,
                    responses={"200": "Descriptions.", "404": "There is no such version."},
                    answer=_DESCRIPTION,
                ),
                "put": Operation(
                    id="version_setAutoScale",
                    summary="Change the number of workers of a version.",
                    query=scale_query,
                    responses=_CHANGE,
                    answer=_STATUS,
                ),
                "delete": Operation(
                    id="version_unregisterModel",
                    summary="Stop serving a version.",
                    responses={
                        "200": "Done.",
                        "403": "It is the default version, and there are others.",
                        "404": "There is no such version.",
                    },
                    answer=_STATUS,
                ),
            },
        ),
        Route(
            path="/models/{model_name}/{model_version}/set-default",
            methods={"PUT": management.set_default, "OPTIONS": descriptions.management_model},
            operations={
                "put": Operation(
                    id="setDefault",
                    summary="Answer requests without a version with this one.",
                    responses={"200": "Done.", "404": "There is no such version."},
                    answer=_STATUS,
                )
            },
        ),
        _v1_readiness(health),
    ]


def platform_routes(
    inference: InferenceApi, health: HealthApi, *, health_route: str, predict_route: str
) -> tuple[list[Route], list[Route]]:
    """Paths that a platform has chosen (Vertex AI does); "" for none.

    Returns:
        Routes that come before all others, because their path may be ``/ping``; and routes that
        come last, because the path of a prediction may be one that is served already.
    """
    first = [Route(path=health_route, methods={"*": health.ready})] if health_route else []
    last = (
        [Route(path=predict_route, methods={"*": inference.invocations})] if predict_route else []
    )
    return first, last


def token_routes(token: TokenApi) -> list[Route]:
    """The route of the management listener that renews keys."""
    return [
        Route(
            path="/token",
            methods={"*": token.renew},
            operations={
                "get": Operation(
                    id="renewToken",
                    summary="Make a new key; the old one is refused from then on.",
                    query=(("type", _KEY_NAME, "Which key."),),
                    responses={
                        "200": "The new key.",
                        "400": "The API key is missing or wrong, or type names no key.",
                        "409": "The key is fixed by the configuration.",
                    },
                    answer=_KEY,
                )
            },
        )
    ]


def metrics_routes(metrics: MetricsApi) -> list[Route]:
    """Routes of the metrics listener."""
    return [
        Route(
            path="/metrics",
            methods={"*": metrics.metrics},
            operations={
                "get": Operation(
                    id="metrics",
                    summary="Counters in Prometheus' text format.",
                    query=(("name[]", {"type": "array", "items": _TEXT}, "Only these samples."),),
                    responses={"200": "The metrics."},
                )
            },
        ),
        Route(path="/metrics/{rest...}", methods={"*": metrics.metrics}),
    ]


def common_routes(descriptions: ApiDescriptions, health: HealthApi | None) -> list[Route]:
    """What every listener has: its description, and a root.

    Args:
        descriptions: makes the documents.
        health: for ``GET /`` of the inference listener; None elsewhere, where it is refused.
    """
    methods: dict[str, Endpoint] = {"OPTIONS": descriptions.api}
    operations = {
        "options": Operation(
            id="apiDescription",
            summary="This document.",
            responses={"200": "OpenAPI 3.0.1."},
            answer=_OPENAPI,
        )
    }
    if health is not None:
        methods |= {"GET": health.alive, "HEAD": health.alive}
        operations["get"] = Operation(
            id="alive",
            summary="Whether the server answers (KServe v1).",
            responses={"200": "It does."},
            answer=_STATUS,
        )
    return [
        Route(path="/", methods=methods, operations=operations),
        Route(
            path="/api-description",
            methods={"*": descriptions.api},
            operations={
                "get": Operation(
                    id="api-description",
                    summary="This document.",
                    responses={"200": "OpenAPI 3.0.1."},
                    answer=_OPENAPI,
                )
            },
        ),
    ]


def _model_routes(first: str, summary: str, endpoint: Endpoint, options: Endpoint) -> list[Route]:
    return [
        Route(
            path=f"/{first}/{{model_name}}",
            methods={"OPTIONS": options, "*": endpoint},
            operations={"post": _run(first, summary)},
        ),
        Route(
            path=f"/{first}/{{model_name}}/{{model_version}}",
            methods={"OPTIONS": options, "*": endpoint},
            operations={"post": _run(f"version_{first}", f"{summary} This version of it.")},
        ),
        Route(
            path=f"/{first}/{{model_name}}/{{model_version}}/{{rest...}}",
            methods={"OPTIONS": options, "*": endpoint},
        ),
    ]


def _run(operation_id: str, summary: str) -> Operation:
    return Operation(id=operation_id, summary=summary, body=_INPUT, responses=_RUN)


def _v1_readiness(health: HealthApi) -> Route:
    return Route(
        path="/v1/models/{model_name}",
        methods={"GET": health.v1_model, "HEAD": health.v1_model},
        operations={
            "get": Operation(
                id="kserveV1Ready",
                summary="Whether a model can be used (KServe v1).",
                responses={"200": "Whether it can.", "404": "There is no such model."},
                answer=_READINESS,
            )
        },
    )
