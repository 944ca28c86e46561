"""CloudEvents in the binary form of their HTTP binding, for KServe v1: headers ``ce-*``.

A request that is an event is answered with one. Its attributes are those of the request, but for
the ones that say what an event is about: type and source are KServe's, and the time is now. With
the type of the request, a broker could send the answer back as another request, without end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from tsl.protocol.errors import TslError
from tsl.protocol.frames import Chunk, Headers, Reply

from ..jobs import Job
from .exchange import Exchange

RESPONSE_TYPE: Final = "io.kserve.inference.response"
SOURCE_PREFIX: Final = "io.kserve.inference."

_PREFIX: Final = "ce-"
_MARK: Final = b"ce-specversion"
_REQUIRED: Final = frozenset({"ce-specversion", "ce-id", "ce-source", "ce-type"})
_OWN: Final = frozenset({"ce-source", "ce-type", "ce-time", "ce-dataschema"})


def answer_attributes(headers: Headers, model_name: str) -> list[str] | None:
    """Header pairs of the answer to an event.

    Args:
        headers: header pairs of the request, as received.
        model_name: the model that is asked.

    Returns:
        None when the request is no event: one of the required attributes is missing.
    """
    if _MARK not in b"\n".join(headers).lower():
        return None
    given: dict[str, str] = {}
    for name, value in zip(headers[::2], headers[1::2], strict=True):
        lower = name.decode("latin-1").lower()
        if lower.startswith(_PREFIX):
            given[lower] = value.decode("latin-1")
    if not given.keys() >= _REQUIRED:
        return None
    pairs = ["content-type", "application/json"]
    for attribute, text in given.items():
        if attribute not in _OWN:
            pairs += [attribute, text]
    return [
        *pairs,
        *("ce-source", f"{SOURCE_PREFIX}{model_name}", "ce-type", RESPONSE_TYPE),
        *("ce-time", event_time()),
    ]


def event_time() -> str:
    """Now, as events write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventAnswer:
    """The sink of a job that an event has asked for.

    Args:
        exchange: where the answer goes.
        attributes: header pairs; what the handler sets counts more.
    """

    __slots__ = ("_attributes", "_exchange")

    def __init__(self, exchange: Exchange, attributes: list[str]) -> None:
        self._exchange = exchange
        self._attributes = attributes

    def finish(self, job: Job, reply: Reply) -> None:
        """The answer, as an event."""
        headers = [*self._attributes, *reply.headers]
        self._exchange.finish(job, reply._replace(headers=headers))

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece of the answer; the first one brings the attributes."""
        headers = [*self._attributes, *chunk.headers]
        self._exchange.chunk(job, chunk._replace(headers=headers))

    def fail(self, job: Job, error: TslError) -> None:
        """An error is no event."""
        self._exchange.fail(job, error)
