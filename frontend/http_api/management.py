"""The management endpoints: requests to `ManagementCalls`, its answers to responses.

What changes the server runs in a task, because it waits for workers.
"""

from __future__ import annotations

from collections.abc import Awaitable

from ..management_calls import Answer, ManagementCalls
from .exchange import Exchange
from .operations import Operations
from .parameters import query_of, registration_values
from .router import Params


class ManagementApi:
    """Endpoints of the management listener.

    Args:
        calls: the operations.
        operations: runs what waits.
    """

    def __init__(self, calls: ManagementCalls, operations: Operations) -> None:
        self._calls = calls
        self._operations = operations

    def list_models(self, exchange: Exchange, params: Params) -> None:
        """``GET /models``: the default version of each model, in pages."""
        del params
        exchange.respond_json(*self._calls.list_models(query_of(exchange)))

    def describe(self, exchange: Exchange, params: Params) -> None:
        """``GET /models/{model_name}[/{model_version}]``; ``all`` names every version."""
        name, version = params["model_name"], params.get("model_version", "")
        is_customized = query_of(exchange).get("customized", "").lower() == "true"
        if is_customized and version != "all":
            headers = exchange.request.headers
            call = self._calls.describe_customized(name, version, exchange.request_id, headers)
            self._run(exchange, call)
        else:
            exchange.respond_json(*self._calls.describe(name, version))

    def register(self, exchange: Exchange, params: Params) -> None:
        """``POST /models``."""
        del params
        self._run(exchange, self._calls.register(registration_values(exchange)))

    def scale(self, exchange: Exchange, params: Params) -> None:
        """``PUT /models/{model_name}[/{model_version}]``."""
        query = query_of(exchange)
        version = params.get("model_version") or query.get("model_version", "")
        self._run(exchange, self._calls.scale(params["model_name"], version, query))

    def describe_default(self, exchange: Exchange, params: Params) -> None:
        """``GET`` of that path: TorchServe describes the default version, whichever is named."""
        self.describe(exchange, {"model_name": params["model_name"]})

    def set_default(self, exchange: Exchange, params: Params) -> None:
        """``PUT /models/{model_name}/{model_version}/set-default``."""
        self._run(exchange, self._calls.set_default(params["model_name"], params["model_version"]))

    def unregister(self, exchange: Exchange, params: Params) -> None:
        """``DELETE /models/{model_name}[/{model_version}]``."""
        name, version = params["model_name"], params.get("model_version", "")
        self._run(exchange, self._calls.unregister(name, version))

    def _run(self, exchange: Exchange, call: Awaitable[Answer]) -> None:
        self._operations.run(exchange, _respond(exchange, call))


async def _respond(exchange: Exchange, call: Awaitable[Answer]) -> None:
    exchange.respond_json(*await call)
