"""The Open Inference Protocol over HTTP: what a model is asked, and what is told about it.

Tensors are not looked into. A request with binary tensors is cut in two, the JSON document and
the bytes behind it, and the worker does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tsl.protocol.errors import InvalidRequest, TslError
from tsl.protocol.frames import Chunk, Headers, Part, Reply, Row
from tsl.protocol.tensors import INLINE_TYPE, TENSORS_PART, TENSORS_TYPE

from ..jobs import Job
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
from ..timing import TimedJob
from .body import parts_of
from .content_coding import MIN_COMPRESSED_BYTES, coding_for, compress, decompress
from .exchange import WAITING, Exchange
from .inference import deadline_of
from .router import Params

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
        self._submit(exchange, params, _PREDICT)

    def explain(self, exchange: Exchange, params: Params) -> None:
        """``/v2/models/{model_name}[/versions/{model_version}]/explain``."""
        query = exchange.request.target.partition(b"?")[2]
        properties = [*_EXPLAIN, "url_query", query.decode("latin-1")] if query else _EXPLAIN
        self._submit(exchange, params, properties)

    def _submit(self, exchange: Exchange, params: Params, properties: list[str]) -> None:
        name, version = params["model_name"], params.get("model_version", "")
        request = exchange.request
        served = self._registry.get(name, version)
        header_length, coding, accepted = _fields(request.headers)
        body, headers = request.body, request.headers
        if coding:
            body = decompress(coding, body, exchange.connection.context.limits.body_bytes)
            headers = _without(headers, _CODED)
        if header_length:
            if header_length == b"0":
                header_length, body = with_document(declared_tensors(served, "inputs"), body)
            takes_tensors = served.version.config.input_format == "tensors"
            parts = _cut(header_length, body, TENSORS_TYPE if takes_tensors else INLINE_TYPE)
            end = len(parts[0].body)
        else:
            parts = parts_of(request.content_type, body)
            end = len(body)
        answer = _Answer(exchange, coding_for(accepted), self._protocol.counters(served))
        if body.find(MARK, 0, end) >= 0:
            parts, properties = self._share(served, answer, body[:end], parts, properties)
        limit_s = served.client_timeout_s
        document = parts[0].body if parts else b""
        if served.version.config.sequence_batching or may_limit_time(body, len(document)):
            parameters = parameters_of(document)
            if served.version.config.sequence_batching:
                headers = [*headers, *sequence_of(parameters, self._sequence_names)]
            limits = [each for each in (limit_s, timeout_of(parameters)) if each]
            limit_s = min(limits, default=0.0)
        limited = request.timeout_ms or limit_s
        job = (TimedJob if request.head.wants_timing else Job)(
            Row(exchange.request_id, headers, properties, parts),
            answer,
            request.started_at,
            deadline_of(exchange, limit_s) if limited else None,
        )
        job.labels = (name, version or "default")
        exchange.job = job
        exchange.connection.context.stats.accepted(job)
        try:
            served.pool.submit(job)
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
        takes_tensors = served.version.config.input_format == "tensors"
        if not parts or parts[-1].name != TENSORS_PART:
            if len(parts) != 1 or len(parts[0].body) != len(document):
                return parts, properties  # a form: no document
            kind = TENSORS_TYPE if takes_tensors else INLINE_TYPE
            parts = [*parts, Part(TENSORS_PART, kind, b"")]
        peer = answer.exchange.connection.peer.decode("latin-1")
        attached = self._protocol.shared_memory.attach(
            names_in(document), peer, takes_tensors=takes_tensors
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


def _cut(header_length: bytes, body: bytes | bytearray, content_type: str) -> list[Part]:
    """The document and what is behind it."""
    length = int(header_length) if header_length.isdigit() and len(header_length) < 12 else -1
    if length < 0 or length > len(body):
        raise InvalidRequest(
            "Inference-Header-Content-Length is not the size of the JSON document at the "
            "beginning of the body."
        )
    view = memoryview(body)
    return [
        Part("body", "application/json", view[:length]),
        Part(TENSORS_PART, content_type, view[length:]),
    ]
