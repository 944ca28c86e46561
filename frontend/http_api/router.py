"""Paths to endpoints: the one table that both serves and is described.

The rules are TorchServe's (inference API, section 1): the path is percent-decoded *before* it is
split, so an encoded slash separates; empty segments at the end do not count; an empty one
anywhere else matches nothing. Most inference routes take any method. HEAD is served wherever GET
is. Unlike TorchServe, an absolute target (``GET http://host/path``) is taken by its path, which
RFC 9112 asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from tsl.protocol.errors import InvalidRequest, MethodNotAllowed, ResourceNotFound, TslError

if TYPE_CHECKING:
    from .exchange import Exchange

Params: TypeAlias = dict[str, str]
Endpoint: TypeAlias = "Callable[[Exchange, Params], None]"
Refusal: TypeAlias = Callable[[type[TslError]], Endpoint]
"""Makes the endpoint for an error that `Router.match` would raise."""

MAX_CACHED: Final = 4096
"""Targets without query remembered with their match; clients repeat themselves."""

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_AUTHORITY: Final = re.compile(rb"https?://[^/]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What the OpenAPI document says of a route and method.

    Attributes:
        id: ``operationId``; TorchServe's, where there is one, because generated clients have it.
        summary: one line.
        query: query parameters: name, JSON schema, description.
        body: description of the request body, "" for none.
        responses: status → description.
        answer: JSON schema of the answer, None when the model decides.
    """

    id: str
    summary: str
    query: tuple[tuple[str, dict[str, Any], str], ...] = ()
    body: str = ""
    responses: dict[str, str] = field(default_factory=dict)
    answer: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path.

    Attributes:
        path: template; ``{name}`` takes a segment or a piece of one, ``{name...}`` at the end
            takes all that is left, at least one segment.
        methods: endpoint by method; "*" for every method that is not named.
        operations: what to document, by lower-case method; empty for an undocumented alias.
        ignore_case: the fixed parts of the path are taken in any case of letters.
    """

    path: str
    methods: dict[str, Endpoint]
    operations: dict[str, Operation] = field(default_factory=dict)
    ignore_case: bool = False


class Match(NamedTuple):
    """A route found."""

    endpoint: Endpoint
    params: Params


class Router:
    """The routes of one listener; the first route that fits wins.

    Args:
        routes: in order of precedence.
        refusal: makes the endpoint that refuses what no route takes; without one, `match` raises.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        refusal: Refusal | None = None,
    ) -> None:
        self.routes = tuple(routes)
        self._refusal = refusal
        self._compiled = [(_compile(route), route) for route in routes]
        self._cache: dict[tuple[bytes, bytes], Match] = {}

    def match(self, method: bytes, target: bytes) -> Match:
        """Find the endpoint for a request.

        Args:
            method: as sent.
            target: path with query, as sent.

        Raises:
            InvalidRequest: the path has a broken percent escape.
            ResourceNotFound: no route has this path.
            MethodNotAllowed: a route has, but not for this method.
        """
        found = self._cache.get((method, target))
        if found is None:
            path, query, _ = target.partition(b"?")
            found = self._search(method.decode("latin-1"), path)
            if not query:
                if len(self._cache) >= MAX_CACHED:
                    self._cache.clear()
                self._cache[(method, target)] = found
        return found

    def _search(self, method: str, raw: bytes) -> Match:
        if method == "OPTIONS" and raw == b"*":
            raw = b"/"
        path = decode_path(raw)
        known = False
        for pattern, route in self._compiled:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            known = True
            endpoint = _endpoint(route, method)
            if endpoint is not None:
                return Match(endpoint, match.groupdict())
        error = MethodNotAllowed if known else ResourceNotFound
        if self._refusal is None:
            raise error
        return Match(self._refusal(error), {})

    def allow(self, target: bytes) -> bytes:
        """The header line that tells which methods a path has; RFC 9110 wants it with a 405."""
        path = decode_path(target.partition(b"?")[0])
        methods = {
            method
            for pattern, route in self._compiled
            if pattern.fullmatch(path)
            for method in route.methods
        }
        if "GET" in methods:
            methods.add("HEAD")
        return f"Allow: {', '.join(sorted(methods - {'*'}))}\r\n".encode("ascii")


def _endpoint(route: Route, method: str) -> Endpoint | None:
    methods = route.methods
    if method == "HEAD" and method not in methods:
        method = "GET"
    return methods.get(method) or methods.get("*")


def decode_path(raw: bytes) -> str:
    """The path as routes see it.

    Args:
        raw: the request target without its query: a path, or a whole URL.

    Raises:
        InvalidRequest: a percent sign is not followed by two hexadecimal digits.
    """
    if _BROKEN_ESCAPE.search(raw):
        raise InvalidRequest("The path is not valid: a % is not followed by two hex digits.")
    if not raw.startswith(b"/"):
        authority = _AUTHORITY.match(raw)
        if authority is not None:
            raw = raw[authority.end() :] or b"/"
    path = unquote_to_bytes(raw).decode("utf-8", "replace")
    return path.rstrip("/") or "/" if path.startswith("/") and not path.startswith("//") else path


def _compile(route: Route) -> re.Pattern[str]:
    template = route.path
    flags = re.DOTALL | re.IGNORECASE if route.ignore_case else re.DOTALL
    if template.endswith("...}"):
        fixed, _, name = template[: -len("...}")].rpartition("{")
        return re.compile(_segments(fixed) + f"(?P<{name}>.+)", flags)
    return re.compile(_segments(template), flags)


def _segments(template: str) -> str:
    # In KServe v1 paths a colon ends the name: what follows is a verb, known or not.
    segment = "[^/:]+" if template.startswith("/v1/") else "[^/]+"
    pieces = []
    at = 0
    for placeholder in _PLACEHOLDER.finditer(template):
        pieces.append(re.escape(template[at : placeholder.start()]))
        pieces.append(f"(?P<{placeholder[1]}>{segment})")
        at = placeholder.end()
    pieces.append(re.escape(template[at:]))
    return "".join(pieces)
