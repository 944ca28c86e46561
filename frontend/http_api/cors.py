"""CORS preflights: a browser asks whether it may send a request, before it sends it.

The configured headers are on every answer, so any 2xx will do (inference-api, section 7). What
matters is that a preflight is answered wherever the request itself could go: browsers send it
without a token, and where any method runs the model, ``OPTIONS`` must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsl.protocol.errors import MethodNotAllowed

from .exchange import Exchange
from .messages import Request
from .router import Endpoint, Params, Route

_PREFLIGHT: frozenset[bytes] = frozenset({b"origin", b"access-control-request-method"})


def with_preflights(routes: Sequence[Route], *, keep_descriptions: bool) -> list[Route]:
    """The same routes, which also answer preflights.

    Args:
        routes: what is served.
        keep_descriptions: leave ``OPTIONS`` alone where it is a route's own, the description of a
            model; as TorchServe, which refuses the preflight of a model that is not there.
    """
    return [
        route
        if keep_descriptions and "OPTIONS" in route.methods
        else replace(route, methods={**route.methods, "OPTIONS": _preflight(route)})
        for route in routes
    ]


def _preflight(route: Route) -> Endpoint:
    otherwise = route.methods.get("OPTIONS") or route.methods.get("*")

    def options(exchange: Exchange, params: Params) -> None:
        if is_preflight(exchange.request):
            exchange.respond(b"", 200)
        elif otherwise is None:
            raise MethodNotAllowed
        else:
            otherwise(exchange, params)

    return options


def is_preflight(request: Request) -> bool:
    """Whether an ``OPTIONS`` request is a browser's question (Fetch standard, section 3.2.2)."""
    return {name.lower() for name in request.headers[::2]} >= _PREFLIGHT
