"""Triton's log and trace settings over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tsl.protocol.errors import Forbidden

from ..runtime_settings import LogControl, TraceControl
from .exchange import Exchange
from .repository import document_of
from .router import Params

_LISTS: Final = "trace_level"


class RuntimeSettingsApi:
    """Endpoints ``/v2/logging`` and ``/v2[/models/{model_name}]/trace/setting``.

    Args:
        log: the server's log.
        trace: the traces.
    """

    def __init__(self, log: LogControl, trace: TraceControl) -> None:
        self._log = log
        self._trace = trace

    def log(self, exchange: Exchange, params: Params) -> None:
        """``GET /v2/logging``."""
        del params
        exchange.respond_json(self._log.settings())

    def update_log(self, exchange: Exchange, params: Params) -> None:
        """``POST /v2/logging``."""
        del params
        exchange.respond_json(self._log.update(document_of(exchange)))

    def trace(self, exchange: Exchange, params: Params) -> None:
        """``GET …/trace/setting``."""
        exchange.respond_json(_plain(self._trace.settings(params.get("model_name", ""))))

    def update_trace(self, exchange: Exchange, params: Params) -> None:
        """``POST …/trace/setting``."""
        name = params.get("model_name", "")
        exchange.respond_json(_plain(self._trace.update(document_of(exchange), name)))

    def refuse(self, exchange: Exchange, params: Params) -> None:
        """``POST`` on the inference listener, whose callers may not change the server."""
        del exchange, params
        raise Forbidden(
            "The settings of the server are changed on another port.",
            hint="Send this to management_address.",
        )


def _plain(settings: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Single values as such; the level is a list."""
    return {name: [*values] if name == _LISTS else values[0] for name, values in settings.items()}
