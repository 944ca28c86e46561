"""The management API: register, describe, scale, unregister, set the default version.

This file turns requests into calls of `ModelManager` and its results into TorchServe's
documents. What changes the server runs in a task, because it waits for workers.
"""

from __future__ import annotations

from typing import Any, Final

from tsl.model_store import RegistrationRequest
from tsl.protocol.errors import InvalidParameter, InvalidRequest, MethodNotAllowed

from ..management import ModelManager
from .describe import ModelDescriber
from .exchange import Exchange
from .operations import Operations
from .parameters import boolean, lenient_int, page_of, query_of, registration_values
from .router import Params

MAX_WORKERS: Final = 1024
"""Workers of one model at most: a slip of a digit must not bring the machine down."""

_REGISTER_INTS: Final = {
    "batch_size": "batch_size",
    "max_batch_delay": "max_batch_delay_ms",
    "initial_workers": "initial_workers",
    "response_timeout": "response_timeout_s",
    "startup_timeout": "startup_timeout_s",
}


class ManagementApi:
    """Endpoints of the management listener.

    Args:
        manager: does the work.
        describer: makes the documents of describe.
        can_register: whether register and unregister are allowed (``enable_model_api``).
        default_workers: ``initial_workers`` of a registration that does not say.
        operations: runs what waits.
    """

    def __init__(
        self,
        manager: ModelManager,
        describer: ModelDescriber,
        *,
        can_register: bool,
        default_workers: int,
        operations: Operations,
    ) -> None:
        self._manager = manager
        self._describer = describer
        self._can_register = can_register
        self._default_workers = default_workers
        self._run = operations.run

    # -- endpoints ---------------------------------------------------------------------------

    def list_models(self, exchange: Exchange, params: Params) -> None:
        """``GET /models``: the default version of each model, in pages."""
        del params
        page, token = page_of(self._manager.registry.defaults(), query_of(exchange))
        document: dict[str, Any] = {}
        if token is not None:
            document["nextPageToken"] = token
        document["models"] = [
            {"modelName": served.version.name, "modelUrl": served.version.url} for served in page
        ]
        exchange.respond_json(document)

    def describe(self, exchange: Exchange, params: Params) -> None:
        """``GET /models/{model_name}[/{model_version}]``; ``all`` names every version."""
        registry = self._manager.registry
        name, version = params["model_name"], params.get("model_version", "")
        if version == "all":
            exchange.respond_json([self._describer.describe(s) for s in registry.versions(name)])
            return
        served = registry.get(name, version)
        if query_of(exchange).get("customized", "").lower() == "true":
            self._run(exchange, self._describer.describe_customized(exchange, served))
        else:
            exchange.respond_json([self._describer.describe(served)])

    def register(self, exchange: Exchange, params: Params) -> None:
        """``POST /models``."""
        del params
        self._require_model_api()
        values = registration_values(exchange)
        request = _registration(values, self._default_workers)
        wait = boolean(values.get("synchronous", "true"))
        self._run(exchange, self._register(exchange, request, wait=wait))

    async def _register(
        self, exchange: Exchange, request: RegistrationRequest, *, wait: bool
    ) -> None:
        served = await self._manager.register(request, wait=wait)
        name, version, workers = (
            served.version.name,
            served.version.version,
            served.pool.min_workers,
        )
        text = f'Model "{name}" Version: {version} registered with {workers} initial workers'
        if not workers:
            text += ". Use scale workers API to add workers for the model."
        elif not wait:
            exchange.respond_json({"status": "Processing worker updates..."}, 202)
            return
        exchange.respond_json({"status": text})

    def scale(self, exchange: Exchange, params: Params) -> None:
        """``PUT /models/{model_name}[/{model_version}]``."""
        query = query_of(exchange)
        version = params.get("model_version") or query.get("model_version", "")
        low = lenient_int(query, "min_worker", 1)
        high = lenient_int(query, "max_worker", low)
        if low < 0 or high < 0:
            raise InvalidRequest("min_worker and max_worker cannot be negative.")
        if high < low:
            raise InvalidRequest("max_worker cannot be less than min_worker.")
        if high > MAX_WORKERS:
            raise InvalidRequest(f"max_worker cannot be more than {MAX_WORKERS}.")
        wait = boolean(query.get("synchronous", "false"))
        self._manager.registry.get(params["model_name"], version)
        self._run(
            exchange, self._scale(exchange, params["model_name"], version, low, high, wait=wait)
        )

    async def _scale(
        self, exchange: Exchange, name: str, version: str, low: int, high: int, *, wait: bool
    ) -> None:
        await self._manager.scale(name, version, low, high, wait=wait)
        if not wait:
            exchange.respond_json({"status": "Processing worker updates..."}, 202)
            return
        text = f"Workers scaled to {low} for model: {name}"
        exchange.respond_json({"status": f"{text}, version: {version}" if version else text})

    def set_default(self, exchange: Exchange, params: Params) -> None:
        """``PUT /models/{model_name}/{model_version}/set-default``."""
        self._run(
            exchange, self._set_default(exchange, params["model_name"], params["model_version"])
        )

    async def _set_default(self, exchange: Exchange, name: str, version: str) -> None:
        await self._manager.set_default(name, version)
        text = f'Default version successfully updated for model "{name}" to "{version}"'
        exchange.respond_json({"status": text})

    def unregister(self, exchange: Exchange, params: Params) -> None:
        """``DELETE /models/{model_name}[/{model_version}]``."""
        self._require_model_api()
        name, version = params["model_name"], params.get("model_version", "")
        self._run(exchange, self._unregister(exchange, name, version))

    async def _unregister(self, exchange: Exchange, name: str, version: str) -> None:
        await self._manager.unregister(name, version)
        exchange.respond_json({"status": f'Model "{name}" unregistered'})

    # -- helpers -----------------------------------------------------------------------------

    def _require_model_api(self) -> None:
        if not self._can_register:
            raise MethodNotAllowed(
                "Registering and unregistering models is switched off.",
                hint="Start with --enable-model-api, or set enable_model_api=true.",
            )


def _registration(values: dict[str, str], default_workers: int) -> RegistrationRequest:
    if "url" not in values:
        raise InvalidRequest("Parameter url is required.")
    numbers: dict[str, Any] = {}
    for parameter, attribute in _REGISTER_INTS.items():
        number = lenient_int(values, parameter, -1)
        if number >= 0:
            numbers[attribute] = number
    numbers.setdefault("initial_workers", default_workers)
    if numbers["initial_workers"] > MAX_WORKERS:
        raise InvalidParameter(f"Parameter initial_workers cannot be more than {MAX_WORKERS}.")
    return RegistrationRequest(
        url=values["url"],
        model_name=values.get("model_name") or None,
        runtime=values.get("runtime") or None,
        handler=values.get("handler") or None,
        loaded_at_startup=False,
        **numbers,
    )
