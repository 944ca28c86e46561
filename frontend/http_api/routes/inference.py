"""Routes of the inference listener, those of KServe apart."""

from __future__ import annotations

from ..health import HealthApi
from ..inference import InferenceApi
from ..open_inference import OpenInferenceApi
from ..openapi import ApiDescriptions
from ..router import Endpoint, Operation, Route
from .kserve import kserve_routes
from .schemas import FLAG, INPUT, RUN, STATUS, TEXT, run_operation


def inference_routes(
    inference: InferenceApi,
    open_inference: OpenInferenceApi,
    health: HealthApi,
    descriptions: ApiDescriptions,
) -> list[Route]:
    """Routes of the inference listener.

    Args:
        inference: runs models.
        open_inference: runs them by the Open Inference Protocol.
        health: liveness and readiness.
        descriptions: answers ``OPTIONS`` on the paths of a model.
    """
    options = descriptions.inference_model
    return [
        Route(
            path="/ping",
            methods={"*": health.ping},
            operations={
                "get": Operation(
                    id="ping",
                    summary="Whether every model has its workers.",
                    query=(("ready", FLAG, "Ask whether they can be used this very moment."),),
                    responses={
                        "200": "Healthy.",
                        "500": "Some model has too few workers.",
                        "503": "Not ready (only with ready=true).",
                    },
                    answer=STATUS,
                )
            },
        ),
        Route(path="/ping/{rest...}", methods={"*": health.ping}),
        *_model_routes("predictions", "Run a model.", inference.predict, options),
        *_model_routes("explanations", "Explain an answer.", inference.explain, options),
        *kserve_routes(inference, open_inference, health, descriptions),
        Route(
            path="/invocations",
            methods={"*": inference.invocations},
            operations={
                "post": Operation(
                    id="invocations",
                    summary="Run a model (SageMaker).",
                    query=(("model_name", TEXT, "Which model; needed when there are several."),),
                    body=INPUT,
                    responses=RUN,
                )
            },
        ),
        Route(
            path="/models/{model_name}/invoke",
            methods={"*": inference.invoke},
            operations={
                "post": run_operation("invoke", "Run a model (SageMaker, several models).")
            },
        ),
        Route(path="/{model_name}/predict", methods={"*": inference.invoke}),
        Route(path="/{model_name}/{model_version}/predict", methods={"*": inference.invoke}),
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


def _model_routes(first: str, summary: str, endpoint: Endpoint, options: Endpoint) -> list[Route]:
    return [
        Route(
            path=f"/{first}/{{model_name}}",
            methods={"OPTIONS": options, "*": endpoint},
            operations={"post": run_operation(first, summary)},
        ),
        Route(
            path=f"/{first}/{{model_name}}/{{model_version}}",
            methods={"OPTIONS": options, "*": endpoint},
            operations={
                "post": run_operation(f"version_{first}", f"{summary} This version of it.")
            },
        ),
        Route(
            path=f"/{first}/{{model_name}}/{{model_version}}/{{rest...}}",
            methods={"OPTIONS": options, "*": endpoint},
        ),
    ]
