"""The shared memory extensions of the Open Inference Protocol over HTTP."""

from __future__ import annotations

import json
from typing import Any

from tsl.protocol.errors import InvalidParameter, InvalidRequest

from ..shared_memory import NO_CUDA, SharedMemory
from .exchange import Exchange
from .router import Params


class SharedMemoryApi:
    """Endpoints of ``/v2/systemsharedmemory``, and of ``/v2/cudasharedmemory``, which has nothing.

    Args:
        regions: the registered ones.
    """

    def __init__(self, regions: SharedMemory) -> None:
        self._regions = regions

    def status(self, exchange: Exchange, params: Params) -> None:
        """``[/region/{region}]/status``."""
        self._check(exchange)
        exchange.respond_json(self._regions.status(params.get("region", "")))

    def register(self, exchange: Exchange, params: Params) -> None:
        """``/region/{region}/register``: ``key``, ``byte_size`` and perhaps ``offset``."""
        self._regions.check(exchange.connection.peer.decode("latin-1"))
        document = _document(exchange)
        key = document.get("key")
        if not isinstance(key, str):
            raise InvalidParameter("Parameter key must be the name of a shared memory object.")
        self._regions.register(
            params["region"], key, _number(document, "offset", 0), _number(document, "byte_size")
        )
        exchange.respond_json({})

    def unregister(self, exchange: Exchange, params: Params) -> None:
        """``[/region/{region}]/unregister``; one that is not registered is no mistake."""
        self._check(exchange)
        self._regions.unregister(params.get("region", ""))
        exchange.respond_json({})

    def cuda_status(self, exchange: Exchange, params: Params) -> None:
        """``[/region/{region}]/status``: there are none."""
        del params
        exchange.respond_json([])

    def cuda_register(self, exchange: Exchange, params: Params) -> None:
        """``/region/{region}/register``: refused."""
        del exchange, params
        raise InvalidRequest(NO_CUDA)  # as Triton, where it has none

    def cuda_unregister(self, exchange: Exchange, params: Params) -> None:
        """``[/region/{region}]/unregister``: there is nothing to do."""
        del params
        exchange.respond_json({})

    def _check(self, exchange: Exchange) -> None:
        if self._regions.is_on:
            self._regions.check(exchange.connection.peer.decode("latin-1"))


def _document(exchange: Exchange) -> dict[str, Any]:
    try:
        document = json.loads(exchange.request.body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The request body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise InvalidRequest("The request body is not a JSON object.")
    return document


def _number(document: dict[str, Any], name: str, default: int | None = None) -> int:
    value = document.get(name, default)
    if type(value) is not int:
        raise InvalidParameter(f"Parameter {name} must be a number of bytes.")
    return value
