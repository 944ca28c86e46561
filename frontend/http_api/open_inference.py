"""The Open Inference Protocol over HTTP: what a model is asked, and what is told about it.

Tensors are not looked into. A request with binary tensors is cut in two, the JSON document and
the bytes behind it, and the worker does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tsl.protocol.errors import InvalidRequest, TslError
from tsl.protocol.frames import Chunk, Headers, Part, Reply, new_part, new_row
from tsl.protocol.tensors import INLINE_TYPE, TENSORS_PART, TENSORS_TYPE

from ..open_inference import ModelCounters, OpenInference, declared_tensors
from ..open_inference_parameters import (
    SequenceNames,
    may_limit_time,
    parameters_of,
    sequence_of,
    timeout_of,
)
from ..raw_requests import with_document
from ..registry import ModelRegistry, ServedModel
from ..shared_memory import MARK, Region, names_in
from .body import media_type_of, parts_of
from .content_coding import MIN_COMPRESSED_BYTES, coding_for, compress, decompress
from .exchange import WAITING, Exchange
from .messages import RequestHead
from .router import Params
from .submission import ModelCall, submit

if TYPE_CHECKING:
    from ..jobs import Job

_LENGTH: Final = b"inference-header-content-length"
_CODED: Final = (b"content-encoding", b"content-length")
_PREDICT: Final = ["explain", "False"]
_EXPLAIN: Final = ["explain", "True"]
NOT_READY: Final = 503


class OpenInferenceApi:
    """Endpoints of ``/v2/models``.

    Args:
        registry: what is served.
        protocol: the documents.
        sequence_names: headers that make a job part of a sequence.
    """

    def __init__(
        self, registry: ModelRegistry, protocol: OpenInference, sequence_names: SequenceNames
    ) -> None:
        self._sequence_names = sequence_names
        self._registry = registry
        self._protocol = protocol

    # -- running a model -----------------------------------------------------------------------

    def infer(self, exchange: Exchange, params: Params) -> None:
        """``/v2/models/{model_name}[/versions/{model_version}]/infer``."""
        head = exchange.request.head
        call = head.call
        if not isinstance(call, TensorCall):
            call = head.call = TensorCall(params, _PREDICT, head)
        self._submit(exchange, call)

    def explain(self, exchange: Exchange, params: Params) -> None:
        """``/v2/models/{model_name}[/versions/{model_version}]/explain``."""
        head = exchange.request.head
        query = head.target.partition(b"?")[2]
        properties = [*_EXPLAIN, "url_query", query.decode("latin-1")] if query else _EXPLAIN
        self._submit(exchange, TensorCall(params, properties, head))

    def _submit(self, exchange: Exchange, call: TensorCall) -> None:
        served = self._registry.get(call.name, call.version)
        body, headers, properties = exchange.request.body, call.headers, call.properties
        if call.coding:
            body = decompress(call.coding, body, exchange.connection.context.limits.body_bytes)
        length = call.document_bytes
        if length is not None:
            if call.is_raw:
                length, body = with_document(declared_tensors(served, "inputs"), body)
            parts = _cut(length, body, _kind_for(served))
            end = length
        elif call.media_type is not None:
            parts = [new_part(("body", call.media_type, body))]
            end = len(body)
        else:
            parts = parts_of(exchange.request.content_type, body)
            end = len(body)
        answer = _Answer(exchange, call.answer_coding, self._protocol.counters(served))
        if body.find(MARK, 0, end) >= 0:
            parts, properties = self._share(served, answer, body[:end], parts, properties)
        limit_s = served.client_timeout_s
        document = parts[0].body if parts else b""
        is_stateful = served.version.config.sequence_batching
        if is_stateful or may_limit_time(body, len(document)):
            parameters = parameters_of(document)
            if is_stateful:
                headers = [*headers, *sequence_of(parameters, self._sequence_names)]
            limits = [each for each in (limit_s, timeout_of(parameters)) if each]
            limit_s = min(limits, default=0.0)
        try:
            row = new_row((exchange.request_id, headers, properties, parts))
            submit(exchange, call, served, row, answer, limit_s)
        except TslError:
            answer.regions = ()
            raise

    def _share(
        self,
        served: ServedModel,
        answer: _Answer,
        document: bytes | bytearray,
        parts: list[Part],
        properties: list[str],
    ) -> tuple[list[Part], list[str]]:
        """Parts and properties of a row that uses shared memory."""
        if not parts or parts[-1].name != TENSORS_PART:
            if len(parts) != 1 or len(parts[0].body) != len(document):
                return parts, properties  # a form: no document
            parts = [*parts, Part(TENSORS_PART, _kind_for(served), b"")]
        peer = answer.exchange.connection.peer.decode("latin-1")
        attached = self._protocol.shared_memory.attach(
            names_in(document), peer, takes_tensors=_takes_tensors(served)
        )
        answer.regions = attached.regions
        return parts, [*properties, *attached.properties]

    # -- telling about it ------------------------------------------------------------------------

    def server(self, exchange: Exchange, params: Params) -> None:
        """``/v2``: who this is."""
        del params
        exchange.respond_json(self._protocol.server())

    def model(self, exchange: Exchange, params: Params) -> None:
        """``/v2/models/{model_name}[/versions/{model_version}]``."""
        exchange.respond_json(self._protocol.model(*_names(params)))

    def ready(self, exchange: Exchange, params: Params) -> None:
        """``…/ready``: 200 when the model can be used now, else 503; its name in any case."""
        is_ready = self._protocol.is_model_ready(*_names(params))
        document = {"name": params["model_name"], "ready": is_ready}
        exchange.respond_json(document, 200 if is_ready else NOT_READY)

    def config(self, exchange: Exchange, params: Params) -> None:
        """``…/config``."""
        exchange.respond_json(self._protocol.config(*_names(params)))

    def statistics(self, exchange: Exchange, params: Params) -> None:
        """``…/stats``, and ``/v2/models/stats`` for all."""
        name, version = params.get("model_name", ""), params.get("model_version", "")
        exchange.respond_json(self._protocol.statistics(name, version))


class TensorCall(ModelCall):
    """A request of the protocol without its body: all that its head says.

    Args:
        params: of the route.
        properties: pairs that the row gets.
        head: of the request.

    Attributes:
        properties: pairs that the row gets.
        headers: those that the row gets.
        document_bytes: size of the JSON document before binary tensors; None when there are none,
            -1 when it is not said as it should be.
        is_raw: there is no document, all of the body is one tensor.
        media_type: of a body without binary tensors; None for a form.
        coding: of the body, "" for none.
        answer_coding: of the answer, "" for none.
    """

    __slots__ = (
        "answer_coding",
        "coding",
        "document_bytes",
        "headers",
        "is_raw",
        "media_type",
        "properties",
    )

    def __init__(self, params: Params, properties: list[str], head: RequestHead) -> None:
        super().__init__(params)
        length, coding, accepted = _fields(head.headers)
        self.properties = properties
        self.headers = _without(head.headers, _CODED) if coding else head.headers
        self.document_bytes = _length_of(length) if length else None
        self.is_raw = length == b"0"
        self.media_type = media_type_of(head.content_type)
        self.coding = coding
        self.answer_coding = coding_for(accepted)


class _Answer:
    """The sink of a job: counts its end, and compresses the answer if that was asked for."""

    __slots__ = ("_coding", "_counters", "exchange", "regions")

    def __init__(self, exchange: Exchange, coding: str, counters: ModelCounters) -> None:
        self.exchange = exchange
        self.regions: Sequence[Region] = ()  # kept open until the job has had its end
        self._coding = coding
        self._counters = counters

    def finish(self, job: Job, reply: Reply) -> None:
        """The model's answer, or the last piece of its stream."""
        self._counters.note(job, succeeded=reply.status < 400)
        exchange, coding = self.exchange, self._coding
        self.regions = ()
        if coding and len(reply.body) >= MIN_COMPRESSED_BYTES and exchange.phase == WAITING:
            names = {name.lower() for name in reply.headers[::2]}
            if "content-encoding" not in names:
                reply = reply._replace(
                    headers=[*reply.headers, "content-encoding", coding, "vary", "accept-encoding"],
                    body=compress(coding, reply.body),
                )
        exchange.finish(job, reply)

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece of the model's stream."""
        self.exchange.chunk(job, chunk)

    def fail(self, job: Job, error: TslError) -> None:
        """There is no answer."""
        self._counters.note(job, succeeded=False)
        self.regions = ()
        self.exchange.fail(job, error)


def _names(params: Params) -> tuple[str, str]:
    return params["model_name"], params.get("model_version", "")


def _fields(headers: Headers) -> tuple[bytes, str, str]:
    """Length of the inference header, content coding, and accepted codings; b"" or "" if absent."""
    length, coding, accepted = b"", "", ""
    for name, value in zip(headers[::2], headers[1::2], strict=True):
        lower = name.lower()
        if lower == _LENGTH:
            length = value
        elif lower == b"content-encoding":
            coding = value.decode("latin-1")
        elif lower == b"accept-encoding":
            accepted = value.decode("latin-1")
    return length, coding, accepted


def _without(headers: Headers, names: tuple[bytes, ...]) -> Headers:
    pairs = zip(headers[::2], headers[1::2], strict=True)
    return [item for pair in pairs if pair[0].lower() not in names for item in pair]


def _takes_tensors(served: ServedModel) -> bool:
    return served.version.config.input_format == "tensors"


def _kind_for(served: ServedModel) -> str:
    """Content type of a part with tensors' bytes."""
    return TENSORS_TYPE if _takes_tensors(served) else INLINE_TYPE


def _length_of(header: bytes) -> int:
    """The number of bytes that a header says; -1 if it says none."""
    return int(header) if header.isdigit() and len(header) < 12 else -1


def _cut(length: int, body: bytes | bytearray, content_type: str) -> list[Part]:
    """The document and what is behind it."""
    if length < 0 or length > len(body):
        raise InvalidRequest(
            "Inference-Header-Content-Length is not the size of the JSON document at the "
            "beginning of the body."
        )
    view = memoryview(body)
    return [
        new_part(("body", "application/json", view[:length])),
        new_part((TENSORS_PART, content_type, view[length:])),
    ]
