"""CloudEvents in the structured form of their HTTP binding, for KServe v1: one JSON document.

The model gets the event's data and nothing else; the answer is an event around what it says. KServe
also takes such a document for an event when its content type is plain JSON and it has a time.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any, Final, NamedTuple

from tsl.protocol.errors import InvalidRequest, PayloadTooLarge, TslError
from tsl.protocol.frames import Chunk, Part, Reply, new_part

from ..jobs import Job
from .cloud_events import RESPONSE_TYPE, SOURCE_PREFIX, event_time
from .exchange import STREAMING, Exchange

CONTENT_TYPE: Final = "application/cloudevents+json"
MAX_BYTES: Final = 1024 * 1024
"""Such events are taken apart by the front end, whose time belongs to all clients: 10 ms for this."""

_JSON: Final = "application/json"
_REQUIRED: Final = frozenset({"specversion", "id", "source", "type"})
_BY_SHAPE: Final = _REQUIRED | {"time", "data"}
_OWN: Final = frozenset(
    {"source", "type", "time", "dataschema", "datacontenttype", "data", "data_base64"}
)


class StructuredEvent(NamedTuple):
    """A request that is an event.

    Attributes:
        attributes: those that the answer has, too.
        data: what the model gets.
    """

    attributes: dict[str, Any]
    data: Part


def structured_event(content_type: str, body: bytes | bytearray) -> StructuredEvent | None:
    """Take an event apart.

    Args:
        content_type: value of the request's header.
        body: the request's.

    Returns:
        None when the request is none.

    Raises:
        InvalidRequest: it says that it is an event, and is not.
        PayloadTooLarge: it is larger than `MAX_BYTES`.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    is_declared = media_type == CONTENT_TYPE
    if not is_declared and (media_type != _JSON or b'"specversion"' not in body):
        return None
    if len(body) > MAX_BYTES:
        if not is_declared:
            return None  # a document that has the word in it, most likely
        raise PayloadTooLarge(
            f"An event in structured form has at most {MAX_BYTES} bytes.",
            hint="Send its attributes as ce-* headers and the data as the body.",
        )
    document = _parse(body)
    if not isinstance(document, dict) or not document.keys() >= _BY_SHAPE:
        if not is_declared:
            return None
        _check(document)
    attributes = {name: value for name, value in document.items() if name not in _OWN}
    return StructuredEvent(attributes, _data_of(document))


def _parse(body: bytes | bytearray) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _check(document: Any) -> None:
    if not isinstance(document, dict):
        raise InvalidRequest("The event is no JSON object.")
    missing = sorted(name for name in _REQUIRED if not isinstance(document.get(name), str))
    if missing:
        raise InvalidRequest(f"The event lacks attributes: {', '.join(missing)}.")


def _data_of(document: dict[str, Any]) -> Part:
    content_type = document.get("datacontenttype") or _JSON
    if not isinstance(content_type, str):
        raise InvalidRequest("The event's datacontenttype is no text.")
    media_type = content_type.partition(";")[0].strip().lower()
    if "data_base64" in document:
        try:
            body = b64decode(document["data_base64"], validate=True)
        except (TypeError, ValueError) as error:
            raise InvalidRequest("The event's data_base64 is not base64.") from error
        return new_part(("body", media_type, body))
    data = document.get("data")
    if isinstance(data, str) and media_type != _JSON:
        return new_part(("body", media_type, data.encode("utf-8", "surrogatepass")))
    return new_part(("body", media_type, json.dumps(data).encode()))


class StructuredAnswer:
    """The sink of a job that a structured event has asked for.

    Args:
        exchange: where the answer goes.
        event: the request.
        model_name: the model that is asked.
    """

    __slots__ = ("_attributes", "_exchange")

    def __init__(self, exchange: Exchange, event: StructuredEvent, model_name: str) -> None:
        self._exchange = exchange
        self._attributes = {
            **event.attributes,
            "source": f"{SOURCE_PREFIX}{model_name}",
            "type": RESPONSE_TYPE,
        }

    def finish(self, job: Job, reply: Reply) -> None:
        """The answer, as an event; the last piece of a stream stays as it is."""
        if self._exchange.phase == STREAMING:
            self._exchange.finish(job, reply)
            return
        others = _without_content_type(reply.headers)
        given = _content_type_of(reply.headers)
        body = self._document(bytes(reply.body), given)
        headers = ["content-type", CONTENT_TYPE, *others]
        self._exchange.finish(job, reply._replace(headers=headers, body=body))

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece of a stream: nobody could read an event that is not complete."""
        self._exchange.chunk(job, chunk)

    def fail(self, job: Job, error: TslError) -> None:
        """An error is no event."""
        self._exchange.fail(job, error)

    def _document(self, body: bytes, content_type: str) -> bytes:
        attributes = {**self._attributes, "time": event_time()}
        if _is_json(body):
            attributes["datacontenttype"] = content_type or _JSON
            return b'%b, "data": %b}' % (json.dumps(attributes).encode()[:-1], body)
        try:
            attributes["data"] = body.decode()
            attributes["datacontenttype"] = content_type or "text/plain"
        except UnicodeDecodeError:
            attributes["data_base64"] = b64encode(body).decode()
            attributes["datacontenttype"] = content_type or "application/octet-stream"
        return json.dumps(attributes).encode()


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _content_type_of(headers: list[str]) -> str:
    pairs = zip(headers[::2], headers[1::2], strict=True)
    return next((value for name, value in pairs if name.lower() == "content-type"), "")


def _without_content_type(headers: list[str]) -> list[str]:
    pairs = zip(headers[::2], headers[1::2], strict=True)
    return [text for pair in pairs if pair[0].lower() != "content-type" for text in pair]
