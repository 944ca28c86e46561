"""The routes of workflows on the inference and the management listener."""

from __future__ import annotations

from typing import Any, Final

from ..exchange import Exchange
from ..openapi import ApiDescriptions
from ..router import Endpoint, Operation, Params, Route
from ..workflows import WorkflowInference, WorkflowManagement
from .schemas import COUNT, FLAG, STATUS, TEXT

_LIST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["workflows"],
    "properties": {
        "nextPageToken": TEXT,
        "workflows": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["workflowName", "workflowUrl"],
                "properties": {"workflowName": TEXT, "workflowUrl": TEXT},
            },
        },
    },
}
_DESCRIPTION: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "workflowName": TEXT,
            "workflowUrl": TEXT,
            "minWorkers": COUNT,
            "maxWorkers": COUNT,
            "batchSize": COUNT,
            "maxBatchDelay": COUNT,
            "workflowDag": TEXT,
        },
    },
}
_NOT_FOUND: Final = "There is no such workflow."


def workflow_inference_routes(
    inference: WorkflowInference, descriptions: ApiDescriptions
) -> list[Route]:
    """Routes of the inference listener; TorchServe ignores the case of the first word."""

    def options(exchange: Exchange, params: Params) -> None:
        inference.require(params["workflow_name"])
        descriptions.inference_workflow(exchange, params)

    methods: dict[str, Endpoint] = {"OPTIONS": options, "*": inference.predict}
    return [
        Route(
            path="/wfpredict/{workflow_name}",
            methods=methods,
            operations={
                "post": Operation(
                    id="wfpredict",
                    summary="Run a workflow.",
                    body="The input of the first node: raw bytes, JSON, text, or a form.",
                    responses={
                        "200": "The bytes of the one leaf, or a JSON object of all leaves.",
                        "400": "The request is not valid.",
                        "404": _NOT_FOUND,
                        "413": "The body is larger than max_request_size.",
                        "500": "A node failed, or did not answer in time; the message names it.",
                    },
                )
            },
            ignore_case=True,
        ),
        Route(
            path="/wfpredict/{workflow_name}/{workflow_version}", methods=methods, ignore_case=True
        ),
    ]


def workflow_management_routes(management: WorkflowManagement) -> list[Route]:
    """Routes of the management listener."""
    return [
        Route(
            path="/workflows",
            methods={"GET": management.list_workflows, "POST": management.register},
            operations={
                "get": Operation(
                    id="listWorkflows",
                    summary="The workflows being served.",
                    query=(
                        ("limit", COUNT, "Workflows per page, 100 at most."),
                        ("next_page_token", TEXT, "nextPageToken of the page before."),
                    ),
                    responses={"200": "A page of workflows."},
                    answer=_LIST,
                ),
                "post": Operation(
                    id="registerWorkflow",
                    summary="Serve another workflow; answers when its workers are ready.",
                    query=(
                        ("url", TEXT, "File in the workflow store, or an allowed URL."),
                        ("workflow_name", TEXT, "Default: the manifest's."),
                        ("response_timeout", COUNT, "Seconds per batch of a node; default 120."),
                        ("startup_timeout", COUNT, "Seconds for a worker to load; default 120."),
                        ("s3_sse_kms", FLAG, "Accepted and not used."),
                    ),
                    responses={
                        "200": "Done.",
                        "400": "The archive, its specification or its dag cannot be used.",
                        "404": "There is no such archive.",
                        "405": "The archive is a URL, and enable_model_api is off.",
                        "409": "The workflow is registered already.",
                        "500": "A node cannot be served; the message names it.",
                    },
                    answer=STATUS,
                ),
            },
        ),
        Route(
            path="/workflows/{workflow_name}",
            methods={"GET": management.describe, "DELETE": management.unregister},
            operations={
                "get": Operation(
                    id="describeWorkflow",
                    summary="One workflow.",
                    responses={"200": "Its description.", "404": _NOT_FOUND},
                    answer=_DESCRIPTION,
                ),
                "delete": Operation(
                    id="unregisterWorkflow",
                    summary="Stop serving a workflow, once its requests are answered.",
                    responses={"200": "Done.", "404": _NOT_FOUND},
                    answer=STATUS,
                ),
            },
        ),
    ]
