"""Routes of the management listener: models and tokens."""

from __future__ import annotations

from typing import Any, Final

from ..health import HealthApi
from ..management import ManagementApi
from ..openapi import ApiDescriptions
from ..router import Operation, Route
from ..token import TokenApi
from .kserve import v1_routes
from .schemas import COUNT, FLAG, STATUS, TEXT

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
_KEY_NAME: Final[dict[str, Any]] = {"type": "string", "enum": ["inference", "management"]}
_KEY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["key", "expiration time"],
    "properties": {"key": {"type": "string"}, "expiration time": {"type": "string"}},
}
_CHANGE: Final = {
    "200": "Done.",
    "202": "Under way: synchronous=false.",
    "400": "A parameter is not valid.",
    "404": "There is no such model or version.",
    "500": "A worker cannot load the model.",
}


def management_routes(
    management: ManagementApi, health: HealthApi, descriptions: ApiDescriptions
) -> list[Route]:
    """Routes of the management listener."""
    scale_query = (
        ("min_worker", COUNT, "Start workers until there are so many; default 1."),
        ("max_worker", COUNT, "Stop workers beyond so many; default min_worker."),
        ("number_gpu", COUNT, "Accepted and not used, as by TorchServe."),
        ("synchronous", FLAG, "Answer when it is done; default false."),
        ("timeout", COUNT, "Accepted and not used, as by TorchServe."),
    )
    customized = (("customized", FLAG, "Ask the handler to describe itself."),)
    return [
        Route(
            path="/models",
            methods={"GET": management.list_models, "POST": management.register},
            operations={
                "get": Operation(
                    id="listModels",
                    summary="The models being served.",
                    query=(
                        ("limit", COUNT, "Models per page, 100 at most."),
                        ("next_page_token", TEXT, "nextPageToken of the page before."),
                    ),
                    responses={"200": "A page of models."},
                    answer=_MODEL_LIST,
                ),
                "post": Operation(
                    id="registerModel",
                    summary="Serve another model version.",
                    query=(
                        ("url", TEXT, "File or folder in the model store, or an allowed URL."),
                        ("model_name", TEXT, "Default: the manifest's."),
                        ("handler", TEXT, "Default: the manifest's."),
                        ("runtime", TEXT, "Default: the manifest's."),
                        ("batch_size", COUNT, "Jobs per batch; default 1."),
                        ("max_batch_delay", COUNT, "Milliseconds a batch waits; default 100."),
                        ("response_timeout", COUNT, "Seconds; default 120."),
                        ("startup_timeout", COUNT, "Seconds; default 120."),
                        ("initial_workers", COUNT, "Workers to start; default 0."),
                        ("synchronous", FLAG, "Answer when they are ready; default true."),
                        ("s3_sse_kms", FLAG, "Sign the download for S3."),
                        # `sha256` is ours: the list is TorchServe's, for clients made of it.
                    ),
                    responses={**_CHANGE, "409": "The version is registered already."},
                    answer=STATUS,
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
                    answer=STATUS,
                ),
                "delete": Operation(
                    id="unregisterModel",
                    summary="Stop serving the default version of a model.",
                    responses={"200": "Done.", "404": "There is no such model."},
                    answer=STATUS,
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
                    answer=STATUS,
                ),
                "delete": Operation(
                    id="version_unregisterModel",
                    summary="Stop serving a version.",
                    responses={
                        "200": "Done.",
                        "403": "It is the default version, and there are others.",
                        "404": "There is no such version.",
                    },
                    answer=STATUS,
                ),
            },
        ),
        Route(
            path="/models/{model_name}/{model_version}/set-default",
            methods={
                "GET": management.describe_default,  # as TorchServe; in no description, as there
                "PUT": management.set_default,
                "OPTIONS": descriptions.management_model,
            },
            operations={
                "put": Operation(
                    id="setDefault",
                    summary="Answer requests without a version with this one.",
                    responses={"200": "Done.", "404": "There is no such version."},
                    answer=STATUS,
                )
            },
        ),
        *v1_routes(health, health.v1_model),
    ]


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
