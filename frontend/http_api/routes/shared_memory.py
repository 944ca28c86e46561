"""Routes of the shared memory extensions of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any, Final

from ..router import Endpoint, Operation, Route
from ..shared_memory import SharedMemoryApi

_LIST: Final[dict[str, Any]] = {"type": "array", "items": {"type": "object"}}
_SYSTEM: Final = "/v2/systemsharedmemory"
_CUDA: Final = "/v2/cudasharedmemory"


def shared_memory_routes(api: SharedMemoryApi) -> list[Route]:
    """Registering, listing and unregistering regions.

    Args:
        api: the endpoints.
    """
    registered = {
        "200": "Done.",
        "400": "There is no such object, or too little of it.",
        "403": "Shared memory is switched off, or for clients on the server's machine.",
        "409": "There is a region of this name.",
    }
    found = {"200": "The regions.", "404": "There is no such region."}
    gone = {"200": "It is not registered any more."}
    routes = []
    for base, status, register, unregister, name in (
        (_SYSTEM, api.status, api.register, api.unregister, "v2SystemSharedMemory"),
        (_CUDA, api.cuda_status, api.cuda_register, api.cuda_unregister, "v2CudaSharedMemory"),
    ):
        one = f"{base}/region/{{region}}"
        routes += [
            _route(f"{base}/status", "GET", status, f"{name}Status", "All regions.", found),
            _route(f"{one}/status", "GET", status, f"{name}Region", "A region.", found),
            _route(
                f"{one}/register",
                "POST",
                register,
                f"{name}Register",
                "Let requests name a piece of shared memory.",
                registered,
            ),
            _route(
                f"{base}/unregister",
                "POST",
                unregister,
                f"{name}UnregisterAll",
                "Forget all regions.",
                gone,
            ),
            _route(
                f"{one}/unregister",
                "POST",
                unregister,
                f"{name}Unregister",
                "Forget a region.",
                gone,
            ),
        ]
    return routes


def _route(
    path: str,
    method: str,
    endpoint: Endpoint,
    operation_id: str,
    summary: str,
    responses: dict[str, str],
) -> Route:
    answer = _LIST if method == "GET" else None
    operation = Operation(id=operation_id, summary=summary, responses=responses, answer=answer)
    return Route(path=path, methods={method: endpoint}, operations={method.lower(): operation})
