"""Routes that every listener has, and those of the metrics listener."""

from __future__ import annotations

from typing import Any, Final

from ..health import HealthApi
from ..metrics import MetricsApi
from ..openapi import ApiDescriptions
from ..router import Endpoint, Operation, Route
from .schemas import STATUS, TEXT

_OPENAPI: Final[dict[str, Any]] = {"type": "object"}


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
            answer=STATUS,
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
                    query=(("name[]", {"type": "array", "items": TEXT}, "Only these samples."),),
                    responses={"200": "The metrics."},
                )
            },
        ),
        Route(path="/metrics/{rest...}", methods={"*": metrics.metrics}),
    ]
