"""API descriptions: an OpenAPI 3.0.1 document made from the route table that serves.

A route without an `Operation` is an alias and is not described. Paths and operation ids that
TorchServe has are kept, since clients are generated from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote

from ..registry import ModelRegistry
from .exchange import Exchange
from .router import Operation, Params, Route

OPENAPI_VERSION: Final = "3.0.1"
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_ERROR: Final = {"$ref": "#/components/schemas/Error"}
_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["code", "type", "message"],
    "properties": {
        "code": {"type": "integer"},
        "type": {"type": "string"},
        "message": {"type": "string"},
    },
}
_MODEL_PATHS: Final = (
    "/predictions/{model_name}",
    "/predictions/{model_name}/{model_version}",
    "/explanations/{model_name}",
    "/explanations/{model_name}/{model_version}",
    "/v1/models/{model_name}:predict",
    "/v1/models/{model_name}:explain",
    "/v2/models/{model_name}/infer",
    "/v2/models/{model_name}/explain",
)


class ApiDescriptions:
    """Endpoints that answer with descriptions.

    The routes are given after construction, because these endpoints are among them.

    Args:
        title: of the document for the whole listener.
        registry: what is served.
    """

    def __init__(self, title: str, registry: ModelRegistry) -> None:
        self._title = title
        self._registry = registry
        self._routes: tuple[Route, ...] = ()

    def describe(self, routes: Iterable[Route]) -> None:
        """Set what is described."""
        self._routes = tuple(routes)

    def api(self, exchange: Exchange, params: Params) -> None:
        """``OPTIONS /`` and ``/api-description``: all of the listener."""
        del params
        exchange.respond_json(document(self._title, version("tsl"), self._routes))

    def inference_model(self, exchange: Exchange, params: Params) -> None:
        """``OPTIONS`` on a path of a model: how to call this model."""
        name = params["model_name"]
        self._registry.get(name, params.get("model_version", ""))
        routes = [
            route
            for route in self._routes
            if route.path in _MODEL_PATHS and not (":" in name and ":" in route.path)
        ]  # in a KServe v1 path, a colon would end the name
        described = document(f"RESTful API for: {name}", "1.0.0", routes)
        described["paths"] = {
            path.replace("{model_name}", _escaped(name)): _bound(item, "model_name")
            for path, item in described["paths"].items()
        }
        exchange.respond_json(described)

    def management_model(self, exchange: Exchange, params: Params) -> None:
        """``OPTIONS`` on a path of a model on the management listener."""
        name = params["model_name"]
        self._registry.get(name, params.get("model_version", ""))
        routes = [route for route in self._routes if route.path.startswith("/models/{model_name}")]
        exchange.respond_json(document(f"RESTful Management API for: {name}", "1.0.0", routes))

    def inference_workflow(self, exchange: Exchange, params: Params) -> None:
        """``OPTIONS`` on the path of a workflow: how to run it; whether it exists is not checked."""
        name = params["workflow_name"]
        routes = [route for route in self._routes if route.path == "/wfpredict/{workflow_name}"]
        described = document(f"RESTful API for workflow: {name}", "1.0.0", routes)
        described["paths"] = {
            path.replace("{workflow_name}", _escaped(name)): _bound(item, "workflow_name")
            for path, item in described["paths"].items()
        }
        exchange.respond_json(described)


def document(title: str, api_version: str, routes: Iterable[Route]) -> dict[str, Any]:
    """An OpenAPI document.

    Args:
        title: ``info.title``.
        api_version: ``info.version``.
        routes: what to describe, in order; a path that occurs twice is described once.
    """
    paths: dict[str, Any] = {}
    for route in routes:
        if route.operations and route.path not in paths:
            paths[route.path] = {
                method: _operation(route.path, operation)
                for method, operation in route.operations.items()
            }
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": title, "version": api_version},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR_SCHEMA}},
    }


def _operation(path: str, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"summary": operation.summary, "operationId": operation.id}
    parameters = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"}}
        for name in _PLACEHOLDER.findall(path)
    ]
    parameters += [
        {"in": "query", "name": name, "required": False, "description": text, "schema": schema}
        for name, schema, text in operation.query
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "description": operation.body,
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        }
    described["responses"] = {
        status: _response(status, text, operation) for status, text in operation.responses.items()
    }
    return described


def _response(status: str, text: str, operation: Operation) -> dict[str, Any]:
    if status >= "400":
        return {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    if operation.answer is not None:
        content = {"application/json": {"schema": operation.answer}}
        return {"description": text, "content": content}
    return {"description": text, "content": {"*/*": {"schema": {}}}}


def _bound(item: dict[str, Any], name: str) -> dict[str, Any]:
    """A path item with one path parameter filled in."""
    bound = {}
    for method, operation in item.items():
        left = [p for p in operation.get("parameters", ()) if p["name"] != name]
        bound[method] = {key: value for key, value in operation.items() if key != "parameters"}
        if left:
            bound[method]["parameters"] = left
    return bound


def _escaped(name: str) -> str:
    """A model name as a path template has it: as in a URL, and braces would be placeholders."""
    return quote(name, safe="!$&'()*+,:;=@~")
