"""The repository extension of the Open Inference Protocol over HTTP."""

from __future__ import annotations

import json
from typing import Any

from tsl.protocol.errors import Forbidden, InvalidRequest

from ..model_repository import ModelRepository
from .exchange import Exchange
from .operations import Operations
from .router import Params


class RepositoryApi:
    """Endpoints of ``/v2/repository``.

    Args:
        repository: does it.
        operations: runs what waits.
    """

    def __init__(self, repository: ModelRepository, operations: Operations) -> None:
        self._repository = repository
        self._operations = operations

    def index(self, exchange: Exchange, params: Params) -> None:
        """``/v2/repository/index``; ``{"ready": true}`` for what can be used only."""
        del params
        ready_only = document_of(exchange).get("ready") is True
        self._operations.run(exchange, self._index(exchange, ready_only=ready_only))

    def served(self, exchange: Exchange, params: Params) -> None:
        """The same on the inference listener: what is served, not what is in the store."""
        del params
        ready_only = document_of(exchange).get("ready") is True
        work = self._index(exchange, ready_only=ready_only, served_only=True)
        self._operations.run(exchange, work)

    def refuse(self, exchange: Exchange, params: Params) -> None:
        """Loading and unloading there."""
        del exchange, params
        raise Forbidden(
            "Models are loaded and unloaded on another port.",
            hint="Send this to management_address.",
        )

    async def _index(
        self, exchange: Exchange, *, ready_only: bool, served_only: bool = False
    ) -> None:
        index = await self._repository.index(ready_only=ready_only, served_only=served_only)
        exchange.respond_json(index)

    def load(self, exchange: Exchange, params: Params) -> None:
        """``/v2/repository/models/{model_name}/load``."""
        parameters = document_of(exchange).get("parameters") or {}
        if not isinstance(parameters, dict):
            raise InvalidRequest("The parameters of the request must be a JSON object.")
        self._operations.run(exchange, self._load(exchange, params["model_name"], parameters))

    async def _load(self, exchange: Exchange, name: str, parameters: dict[str, Any]) -> None:
        await self._repository.load(name, parameters)
        exchange.respond_json({})

    def unload(self, exchange: Exchange, params: Params) -> None:
        """``/v2/repository/models/{model_name}/unload``."""
        self._operations.run(exchange, self._unload(exchange, params["model_name"]))

    async def _unload(self, exchange: Exchange, name: str) -> None:
        await self._repository.unload(name)
        exchange.respond_json({})


def document_of(exchange: Exchange) -> dict[str, Any]:
    """The JSON object of a request; none counts as an empty one.

    Raises:
        InvalidRequest: it is something else.
    """
    if not exchange.request.body:
        return {}
    try:
        document = json.loads(exchange.request.body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The request body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise InvalidRequest("The request body is not a JSON object.")
    return document
