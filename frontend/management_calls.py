"""Management calls: values in, TorchServe's documents out, whatever the transport.

The HTTP and the gRPC API both end here. `ModelManager` does the work; this file knows the
parameters, their defaults, and what is answered. What is wrong with a call itself is raised at
once; only the work is to be awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final, NamedTuple

from tsl.model_store import BATCH_POLICIES, RegistrationRequest
from tsl.protocol.errors import InvalidParameter, InvalidRequest, MethodNotAllowed

from .describe import ModelDescriber
from .management import ModelManager
from .parameters import boolean, int_within, lenient_int, page_of

MAX_WORKERS: Final = 1024
"""Workers of one model at most: a slip of a digit must not bring the machine down."""

_LARGEST: Final = 2**31 - 1
_REGISTER_INTS: Final = (
    # parameter, attribute, least, most, TorchServe's word for "not given"
    ("batch_size", "batch_size", 1, 65_536, -1),
    ("max_batch_delay", "max_batch_delay_ms", 0, _LARGEST, -100),
    ("initial_workers", "initial_workers", 0, MAX_WORKERS, -1),
    ("response_timeout", "response_timeout_s", 1, _LARGEST, -1),
    ("startup_timeout", "startup_timeout_s", 1, _LARGEST, -1),
)
_UNDER_WAY: Final = {"status": "Processing worker updates..."}


class Answer(NamedTuple):
    """What a call answers.

    Attributes:
        document: a JSON document.
        status: of HTTP; 202 when the work goes on behind the answer.
    """

    document: Any
    status: int = 200


class ManagementCalls:
    """The operations of the management API.

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

    def list_models(self, values: Mapping[str, str]) -> Answer:
        """The default version of each model, in pages; functions of workflows are none."""
        models = [s for s in self._manager.registry.defaults() if not s.version.is_function]
        page, token = page_of(models, values)
        document: dict[str, Any] = {}
        if token is not None:
            document["nextPageToken"] = token
        document["models"] = [
            {"modelName": served.version.name, "modelUrl": served.version.url} for served in page
        ]
        return Answer(document)

    def describe(self, name: str, version: str) -> Answer:
        """A version of a model; ``all`` names every one, and "" the default one.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        registry = self._manager.registry
        if version == "all":
            return Answer([self._describer.describe(s) for s in registry.versions(name)])
        return Answer([self._describer.describe(registry.get(name, version))])

    async def describe_customized(
        self, name: str, version: str, request_id: str, headers: list[bytes]
    ) -> Answer:
        """A version of a model, and what its handler says of itself.

        Args:
            name: model name.
            version: "" for the default one.
            request_id: id of the job that asks the handler.
            headers: header pairs that the handler sees.

        Raises:
            TslError: there is no such thing, or the handler cannot be asked.
        """
        served = self._manager.registry.get(name, version)
        return Answer([await self._describer.describe_customized(served, request_id, headers)])

    def register(self, values: Mapping[str, str]) -> Awaitable[Answer]:
        """Serve another model version.

        Raises:
            MethodNotAllowed: registering is switched off.
            TslError: a value is not valid, or the model cannot be served.
        """
        self._require_model_api()
        request = _registration(values, self._default_workers)
        return self._register(request, wait=boolean(values.get("synchronous", "true")))

    async def _register(self, request: RegistrationRequest, *, wait: bool) -> Answer:
        served = await self._manager.register(request, wait=wait)
        version, workers = served.version, served.pool.min_workers
        text = (
            f'Model "{version.name}" Version: {version.version} registered '
            f"with {workers} initial workers"
        )
        if not workers:
            text += ". Use scale workers API to add workers for the model."
        elif not wait:
            return Answer(_UNDER_WAY, 202)
        return Answer({"status": text})

    def scale(self, name: str, version: str, values: Mapping[str, str]) -> Awaitable[Answer]:
        """Change the number of workers of a version, "" for the default one.

        Raises:
            TslError: a value is not valid, or a worker cannot be started.
        """
        low = lenient_int(values, "min_worker", 1)
        high = lenient_int(values, "max_worker", low)
        for parameter, number in (("min_worker", low), ("max_worker", high)):
            if not 0 <= number <= MAX_WORKERS:
                raise InvalidParameter(
                    f"Parameter {parameter} is {number}; it has to be from 0 to {MAX_WORKERS}."
                )
        if high < low:
            raise InvalidRequest("max_worker cannot be less than min_worker.")
        self._manager.registry.get(name, version)
        wait = boolean(values.get("synchronous", "false"))
        return self._scale(name, version, low, high, wait=wait)

    async def _scale(self, name: str, version: str, low: int, high: int, *, wait: bool) -> Answer:
        await self._manager.scale(name, version, low, high, wait=wait)
        if not wait:
            return Answer(_UNDER_WAY, 202)
        text = f"Workers scaled to {low} for model: {name}"
        return Answer({"status": f"{text}, version: {version}" if version else text})

    async def set_default(self, name: str, version: str) -> Answer:
        """Answer requests without a version with this one.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        await self._manager.set_default(name, version)
        text = f'Default version successfully updated for model "{name}" to "{version}"'
        return Answer({"status": text})

    def unregister(self, name: str, version: str) -> Awaitable[Answer]:
        """Stop serving a version, "" for the default one.

        Raises:
            MethodNotAllowed: unregistering is switched off.
            TslError: there is no such thing, or it is the default while others exist.
        """
        self._require_model_api()
        return self._unregister(name, version)

    async def _unregister(self, name: str, version: str) -> Answer:
        await self._manager.unregister(name, version)
        return Answer({"status": f'Model "{name}" unregistered'})

    def _require_model_api(self) -> None:
        if not self._can_register:
            raise MethodNotAllowed(
                "Registering and unregistering models is switched off.",
                hint="Start with --enable-model-api, or set enable_model_api=true.",
            )


def _registration(values: Mapping[str, str], default_workers: int) -> RegistrationRequest:
    if "url" not in values:
        raise InvalidRequest("Parameter url is required.")
    numbers: dict[str, Any] = {"initial_workers": default_workers}
    for parameter, attribute, minimum, maximum, unset in _REGISTER_INTS:
        number = int_within(values, parameter, minimum=minimum, maximum=maximum, unset=unset)
        if number is not None:
            numbers[attribute] = number
    policy = values.get("batch_policy") or None
    if policy is not None and policy not in BATCH_POLICIES:
        allowed = ", ".join(BATCH_POLICIES)
        raise InvalidParameter(f"Parameter batch_policy is {policy!r:.40}; it can be {allowed}.")
    return RegistrationRequest(
        url=values["url"],
        batch_policy=policy,
        model_name=values.get("model_name") or None,
        runtime=values.get("runtime") or None,
        handler=values.get("handler") or None,
        sha256=values.get("sha256") or None,
        signs_s3=boolean(values.get("s3_sse_kms", "false")),
        loaded_at_startup=False,
        **numbers,
    )
