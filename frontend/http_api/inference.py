"""The inference API: predictions and explanations, from a request to a job."""

from __future__ import annotations

from typing import Final

from tsl.protocol.errors import InvalidRequest
from tsl.protocol.frames import Part, new_part, new_row

from ..registry import ModelRegistry
from .body import media_type_of, parts_of, urlencoded_parts
from .cloud_events import EventAnswer, answer_attributes
from .exchange import Exchange
from .router import Params
from .structured_events import StructuredAnswer, structured_event
from .submission import ModelCall, submit

_PREDICT: Final = ["explain", "False"]
_EXPLAIN: Final = ["explain", "True"]
_PREDICT_HERE: Final = [*_PREDICT, "url_path", ""]
_EXPLAIN_HERE: Final = [*_EXPLAIN, "url_path", ""]


class InferenceCall(ModelCall):
    """What is asked of whom: all of a call but its values.

    Args:
        params: of the route.
        properties: pairs that the row gets.
        content_type: of the body, for calls that repeat themselves.

    Attributes:
        properties: pairs that the row gets.
        media_type: of a body that is one value; None when it has to be taken apart.
    """

    __slots__ = ("media_type", "properties")

    def __init__(
        self, params: Params, properties: list[str], content_type: str | None = None
    ) -> None:
        super().__init__(params)
        self.properties = properties
        self.media_type = None if content_type is None else media_type_of(content_type)


class InferenceApi:
    """Endpoints that run a model.

    Args:
        registry: what is served.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    # -- endpoints ---------------------------------------------------------------------------

    def predict(self, exchange: Exchange, params: Params) -> None:
        """``/predictions/{model_name}[/{model_version}[/{rest}]]``."""
        request = exchange.request
        head = request.head
        call = head.call
        if not isinstance(call, InferenceCall):
            rest = params.get("rest")
            properties = [*_PREDICT, "url_path", rest] if rest else _PREDICT_HERE
            call = head.call = InferenceCall(params, properties, head.content_type)
        if call.media_type is not None:
            parts = [new_part(("body", call.media_type, request.body))]
        else:
            parts = parts_of(head.content_type, request.body)
        # As `_submit`, without the call: nearly all requests come by here.
        served = self._registry.get(call.name, call.version)
        row = new_row((exchange.request_id, head.headers, call.properties, parts))
        submit(exchange, call, served, row, exchange, served.client_timeout_s)

    def explain(self, exchange: Exchange, params: Params) -> None:
        """``/explanations/{model_name}[/{model_version}[/{rest}]]``."""
        rest = params.get("rest")
        properties = [*_EXPLAIN, "url_path", rest] if rest else _EXPLAIN_HERE
        call = InferenceCall(params, _with_query(properties, exchange))
        self._submit(exchange, call, _body_parts(exchange))

    def protocol_predict(self, exchange: Exchange, params: Params) -> None:
        """The core of ``:predict`` of KServe v1: no ``url_path``."""
        self._submit(exchange, InferenceCall(params, _PREDICT), _body_parts(exchange))

    def protocol_explain(self, exchange: Exchange, params: Params) -> None:
        """The core of ``:explain`` of KServe v1."""
        call = InferenceCall(params, _with_query(_EXPLAIN, exchange))
        self._submit(exchange, call, _body_parts(exchange))

    def v1_predict(self, exchange: Exchange, params: Params) -> None:
        """``:predict`` of KServe v1; an event is answered with an event."""
        if not self._submit_event(exchange, params, _PREDICT):
            self.protocol_predict(exchange, params)
            _answer_event(exchange, params["model_name"])

    def v1_explain(self, exchange: Exchange, params: Params) -> None:
        """``:explain`` of KServe v1; an event is answered with an event."""
        if not self._submit_event(exchange, params, _with_query(_EXPLAIN, exchange)):
            self.protocol_explain(exchange, params)
            _answer_event(exchange, params["model_name"])

    def invoke(self, exchange: Exchange, params: Params) -> None:
        """SageMaker's and the legacy paths: the query's fields come before the body's."""
        parts = self._query_parts(exchange) + _body_parts(exchange)
        self._submit(exchange, InferenceCall(params, []), parts)

    def invocations(self, exchange: Exchange, params: Params) -> None:
        """``/invocations``: the model is named by a field, or there is only one."""
        del params
        query = self._query_parts(exchange)
        parts = query + _body_parts(exchange)
        name = _field(query, "model_name") or self._only_model() or _field(parts, "model_name")
        if not name:
            raise InvalidRequest(
                "Parameter model_name is required.",
                hint="Several models are served; /invocations?model_name=… says which.",
            )
        self._submit(exchange, InferenceCall({"model_name": name}, []), parts)

    def _submit_event(self, exchange: Exchange, params: Params, properties: list[str]) -> bool:
        """Serve an event in structured form; False when the request is none."""
        request = exchange.request
        event = structured_event(request.content_type, request.body)
        if event is None:
            return False
        self._submit(exchange, InferenceCall(params, properties), [event.data])
        if exchange.job is not None:
            exchange.job.sink = StructuredAnswer(exchange, event, params["model_name"])
        return True

    # -- the way to a job ----------------------------------------------------------------------

    def _submit(self, exchange: Exchange, call: InferenceCall, parts: list[Part]) -> None:
        served = self._registry.get(call.name, call.version)
        headers = exchange.request.head.headers
        row = new_row((exchange.request_id, headers, call.properties, parts))
        submit(exchange, call, served, row, exchange, served.client_timeout_s)

    @staticmethod
    def _query_parts(exchange: Exchange) -> list[Part]:
        return urlencoded_parts(exchange.request.target.partition(b"?")[2])

    def _only_model(self) -> str:
        """The name of the model that was loaded at start, if there was just one."""
        names = {s.version.name for s in self._registry if s.version.loaded_at_startup}
        return names.pop() if len(names) == 1 else ""


def _with_query(properties: list[str], exchange: Exchange) -> list[str]:
    """Explanations come in several formats, and ``?format=`` is for links and form targets."""
    query = exchange.request.target.partition(b"?")[2]
    return [*properties, "url_query", query.decode("latin-1")] if query else properties


def _answer_event(exchange: Exchange, model_name: str) -> None:
    """Dress the answer as a CloudEvent, if the request is one."""
    attributes = answer_attributes(exchange.request.headers, model_name)
    job = exchange.job
    if attributes is not None and job is not None:
        job.sink = EventAnswer(exchange, attributes)


def _body_parts(exchange: Exchange) -> list[Part]:
    request = exchange.request
    return parts_of(request.content_type, request.body)


def _field(parts: list[Part], name: str) -> str:
    """Last value of a field, as text."""
    for part in reversed(parts):
        if part.name == name:
            return bytes(part.body).decode("utf-8", "replace")
    return ""
