"""The management API: register, describe, scale, unregister, set the default version.

This file turns requests into calls of `ModelManager` and its results into TorchServe's
documents. What changes the server runs in a task, because it waits for workers.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import parse_qs

from tsl.model_store import RegistrationRequest
from tsl.protocol.errors import (
    InternalError,
    InvalidParameter,
    InvalidRequest,
    MethodNotAllowed,
    ShuttingDown,
    TslError,
)

from ..management import ModelManager
from .describe import ModelDescriber
from .exchange import Exchange
from .router import Params

logger = logging.getLogger(__name__)

PAGE: Final = 100
"""Models per page at most, and by default."""
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
    """

    def __init__(
        self,
        manager: ModelManager,
        describer: ModelDescriber,
        *,
        can_register: bool,
        default_workers: int,
    ) -> None:
        self._manager = manager
        self._describer = describer
        self._can_register = can_register
        self._default_workers = default_workers
        self._tasks: set[asyncio.Task[None]] = set()

    # -- endpoints ---------------------------------------------------------------------------

    def list_models(self, exchange: Exchange, params: Params) -> None:
        """``GET /models``: the default version of each model, in pages."""
        del params
        query = _query(exchange)
        limit = _lenient_int(query, "limit", PAGE)
        limit = limit if 0 <= limit <= PAGE else PAGE
        start = max(_lenient_int(query, "next_page_token", 0), 0)
        models = self._manager.registry.defaults()
        page = models[start : start + limit]
        document: dict[str, Any] = {}
        if start + limit <= len(models):
            document["nextPageToken"] = str(start + limit)
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
        if _query(exchange).get("customized", "").lower() == "true":
            self._run(exchange, self._describer.describe_customized(exchange, served))
        else:
            exchange.respond_json([self._describer.describe(served)])

    def register(self, exchange: Exchange, params: Params) -> None:
        """``POST /models``."""
        del params
        self._require_model_api()
        values = _registration_values(exchange)
        request = _registration(values, self._default_workers)
        wait = _boolean(values.get("synchronous", "true"))
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
        query = _query(exchange)
        version = params.get("model_version") or query.get("model_version", "")
        low = _lenient_int(query, "min_worker", 1)
        high = _lenient_int(query, "max_worker", low)
        if low < 0 or high < 0:
            raise InvalidRequest("min_worker and max_worker cannot be negative.")
        if high < low:
            raise InvalidRequest("max_worker cannot be less than min_worker.")
        if high > MAX_WORKERS:
            raise InvalidRequest(f"max_worker cannot be more than {MAX_WORKERS}.")
        wait = _boolean(query.get("synchronous", "false"))
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

    async def close(self) -> None:
        """Give up the operations that are under way; their clients are told so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- helpers -----------------------------------------------------------------------------

    def _require_model_api(self) -> None:
        if not self._can_register:
            raise MethodNotAllowed(
                "Registering and unregistering models is switched off.",
                hint="Start with --enable-model-api, or set enable_model_api=true.",
            )

    def _run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_guarded(exchange, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except TslError as error:
        exchange.respond_error(error)
    except asyncio.CancelledError:
        exchange.respond_error(ShuttingDown())
        raise
    except Exception:
        # The boundary of a management call: a bug costs this one answer.
        logger.exception("%s: internal error", exchange.request_id)
        exchange.respond_error(InternalError())


def _query(exchange: Exchange) -> dict[str, str]:
    """Query parameters; of a repeated one the first value counts."""
    text = exchange.request.target.partition(b"?")[2].decode("latin-1")
    return {
        name: values[0].encode("latin-1").decode("utf-8", "replace")
        for name, values in parse_qs(text, keep_blank_values=True, encoding="latin-1").items()
    }


def _registration_values(exchange: Exchange) -> dict[str, str]:
    """Parameters of a registration: a JSON object, else the query string."""
    if exchange.request.content_type.split(";")[0].strip().lower() != "application/json":
        return _query(exchange)
    try:
        document = json.loads(exchange.request.body)
    except ValueError as error:
        raise InvalidRequest("The request body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise InvalidRequest("The request body is not a JSON object.")
    values = {}
    for name, value in document.items():
        if isinstance(value, bool):
            values[name] = str(value).lower()
        elif isinstance(value, (str, int)):
            values[name] = str(value)
        elif value is not None:
            raise InvalidParameter(f"Parameter {name} has a value of a wrong type.")
    return values


def _registration(values: dict[str, str], default_workers: int) -> RegistrationRequest:
    if "url" not in values:
        raise InvalidRequest("Parameter url is required.")
    numbers: dict[str, int] = {}
    for parameter, attribute in _REGISTER_INTS.items():
        number = _lenient_int(values, parameter, -1)
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


def _lenient_int(values: dict[str, str], name: str, default: int) -> int:
    """TorchServe's rule: what is no number counts as not given."""
    try:
        return int(values[name])
    except (KeyError, ValueError):
        return default


def _boolean(text: str) -> bool:
    return text.lower() == "true"
