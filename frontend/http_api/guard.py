"""Routes that ask for a token, made of routes that do not.

With tokens off nothing of this exists, and requests pay nothing for it. With tokens on, each
guarded endpoint is wrapped once, when the routes are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsl.protocol.errors import TslError

from ..auth import Authorizer, Permission
from .exchange import Exchange
from .router import Endpoint, Params, Refusal, Route


def guarded(routes: Sequence[Route], authorizer: Authorizer, permission: Permission) -> list[Route]:
    """The same routes for callers that show the key for them.

    Args:
        routes: what is served.
        authorizer: knows the keys.
        permission: what these routes are.
    """
    return [
        replace(
            route,
            methods={
                method: _guarded(endpoint, authorizer, permission)
                for method, endpoint in route.methods.items()
            },
        )
        for route in routes
    ]


def _guarded(endpoint: Endpoint, authorizer: Authorizer, permission: Permission) -> Endpoint:
    check, is_good = authorizer.check, authorizer.is_good

    def checked(exchange: Exchange, params: Params) -> None:
        head = exchange.request.head
        key = head.passed_key
        if key is None or not is_good(key):
            head.passed_key = check(head.authorization, permission, exchange.connection.peer)
        endpoint(exchange, params)

    return checked


def guarded_refusal(authorizer: Authorizer, permissions: tuple[Permission, ...]) -> Refusal:
    """What answers on paths that no route has: first the token, then the refusal.

    Whoever has no key learns nothing about what there is.

    Args:
        authorizer: knows the keys.
        permissions: of the listener; the key for any of them will do.
    """

    def refusal(error: type[TslError]) -> Endpoint:
        def refuse(exchange: Exchange, params: Params) -> None:
            del params
            authorizer.check_any(exchange.request.authorization, permissions)
            raise error

        return refuse

    return refusal
