"""Routes of KServe's protocols, versions 1 and 2."""

from __future__ import annotations

from typing import Any, Final

from ..health import HealthApi
from ..inference import InferenceApi
from ..open_inference import OpenInferenceApi
from ..openapi import ApiDescriptions
from ..router import Endpoint, Operation, Route
from .schemas import run_operation

_NAMES: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["models"],
    "properties": {"models": {"type": "array", "items": {"type": "string"}}},
}
_READINESS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "ready"],
    "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
}


def kserve_routes(
    inference: InferenceApi,
    open_inference: OpenInferenceApi,
    health: HealthApi,
    descriptions: ApiDescriptions,
) -> list[Route]:
    """Routes of the inference listener.

    Args:
        inference: runs models.
        open_inference: runs them by version 2.
        health: readiness.
        descriptions: answers ``OPTIONS`` on the paths of a model.
    """
    options = descriptions.inference_model
    return [
        Route(
            path="/v1/models/{model_name}:predict",
            methods={"OPTIONS": options, "*": inference.v1_predict},
            operations={"post": run_operation("kserveV1Predict", "Run a model (KServe v1).")},
        ),
        Route(
            path="/v1/models/{model_name}:explain",
            methods={"OPTIONS": options, "*": inference.v1_explain},
            operations={"post": run_operation("kserveV1Explain", "Explain an answer (KServe v1).")},
        ),
        *v1_routes(health, health.v1_ready),
        Route(
            path="/v2/models/{model_name}/infer",
            methods={"OPTIONS": options, "*": open_inference.infer},
            operations={"post": run_operation("kserveV2Infer", "Run a model (KServe v2).")},
        ),
        Route(
            path="/v2/models/{model_name}/explain",
            methods={"OPTIONS": options, "*": open_inference.explain},
            operations={"post": run_operation("kserveV2Explain", "Explain an answer (KServe v2).")},
        ),
    ]


def v1_routes(health: HealthApi, readiness: Endpoint) -> list[Route]:
    """Which models there are, and whether one can be used; both listeners have it.

    Args:
        health: which models there are.
        readiness: says whether one can be used.
    """
    return [
        Route(
            path="/v1/models",
            methods={"GET": health.v1_models, "HEAD": health.v1_models},
            operations={
                "get": Operation(
                    id="kserveV1List",
                    summary="The names of the models (KServe v1).",
                    responses={"200": "All of them."},
                    answer=_NAMES,
                )
            },
        ),
        Route(
            path="/v1/models/{model_name}",
            methods={"GET": readiness, "HEAD": readiness},
            operations={
                "get": Operation(
                    id="kserveV1Ready",
                    summary="Whether a model can be used (KServe v1).",
                    responses={"200": "Whether it can.", "404": "There is no such model."},
                    answer=_READINESS,
                )
            },
        ),
    ]
