"""Triton's generate extension over HTTP: text in, text out, as one answer or as a stream of events."""

from __future__ import annotations

import logging
from typing import Any, Final

from tsl.protocol.errors import JobCancelled, ResponseTooLarge, TslError
from tsl.protocol.frames import Buffer, Chunk, Part, Reply, Row

from ..generate import AnswerReader, Form, Joined, encode, model_input, parse_request
from ..jobs import Job
from ..open_inference import ModelCounters, OpenInference, declared_tensors
from ..open_inference_parameters import SequenceNames, sequence_of, timeout_of
from ..registry import ModelRegistry
from . import sse
from .content_coding import decoded
from .exchange import STREAMING, Exchange
from .router import Params
from .submission import ModelCall, submit

logger = logging.getLogger(__name__)

MAX_JOINED_BYTES: Final = 64 * 1024 * 1024
"""Of a stream that is answered as one; a handler may talk without end."""
_JSON: Final = ["content-type", "application/json"]
_EVENTS: Final = ["content-type", f"{sse.MEDIA_TYPE}; charset=utf-8"]
_END: Final = Reply(0, "", [], "", b"")


class GenerateApi:
    """Endpoints ``generate`` and ``generate_stream`` of ``/v2/models/{model_name}``.

    Args:
        registry: what is served.
        protocol: has the counters.
        sequence_names: headers that make a job part of a sequence.
        envelope: of the server (``service_envelope``), "" for none.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        protocol: OpenInference,
        sequence_names: SequenceNames,
        envelope: str,
    ) -> None:
        self._registry = registry
        self._protocol = protocol
        self._sequence_names = sequence_names
        self._envelope = envelope

    def generate(self, exchange: Exchange, params: Params) -> None:
        """``…/generate``: one answer; the pieces of a handler that streams are joined."""
        self._submit(exchange, params, _Whole, "generate")

    def generate_stream(self, exchange: Exchange, params: Params) -> None:
        """``…/generate_stream``: an event for each piece; one event of a handler without pieces."""
        self._submit(exchange, params, _Events, "generate_stream")

    def _submit(
        self, exchange: Exchange, params: Params, sink: type[_Answers], method: str
    ) -> None:
        call = ModelCall(params)
        request = exchange.request
        served = self._registry.get(call.name, call.version)
        config = served.version.config
        limit = exchange.connection.context.limits.body_bytes
        headers, body = decoded(request.headers, request.body, limit)
        document = parse_request(body)
        form = Form.of(config.input_format, self._envelope)
        made = model_input(document, form, declared_tensors(served, "inputs"))
        parameters = {**document, **(document.get("parameters") or {})}
        if config.sequence_batching:
            headers = [*headers, *sequence_of(parameters, self._sequence_names)]
        limits = [each for each in (served.client_timeout_s, timeout_of(parameters)) if each]
        limit_s = min(limits, default=0.0)
        head: dict[str, Any] = {"model_name": call.name, "model_version": served.version.version}
        if document.get("id"):
            head["id"] = str(document["id"])
        properties = ["explain", "False", "url_path", method]
        parts = [Part("body", "application/json", encode(made))]
        row = Row(exchange.request_id, headers, properties, parts)
        answers = sink(exchange, AnswerReader(head), self._protocol.counters(served))
        submit(exchange, call, served, row, answers, limit_s)


class _Answers:
    """A sink of jobs: what both kinds share."""

    __slots__ = ("_counters", "_exchange", "_has_begun", "_reader")

    def __init__(self, exchange: Exchange, reader: AnswerReader, counters: ModelCounters) -> None:
        self._exchange = exchange
        self._reader = reader
        self._counters = counters
        self._has_begun = False

    def finish(self, job: Job, reply: Reply) -> None:
        """The answer, or the last piece of it; one that is empty behind others is no piece."""
        self._counters.note(job, succeeded=reply.status < 400)
        if reply.status >= 400 and not self._has_begun:
            self._exchange.finish(job, reply)  # the handler's own error
        else:
            self._finish(job, reply)

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece."""
        self._has_begun = True
        if chunk.body:
            self._chunk(job, chunk)

    def fail(self, job: Job, error: TslError) -> None:
        """There is no answer, or no rest of it."""
        self._counters.note(job, succeeded=False)
        self._fail(job, error)

    def _finish(self, job: Job, reply: Reply) -> None:
        raise NotImplementedError

    def _chunk(self, job: Job, chunk: Chunk) -> None:
        raise NotImplementedError

    def _fail(self, job: Job, error: TslError) -> None:
        self._exchange.fail(job, error)


class _Whole(_Answers):
    """One JSON document."""

    __slots__ = ("_joined",)

    def __init__(self, exchange: Exchange, reader: AnswerReader, counters: ModelCounters) -> None:
        super().__init__(exchange, reader, counters)
        self._joined = Joined()

    def _chunk(self, job: Job, chunk: Chunk) -> None:
        self._joined.add(self._reader.read(chunk.body), len(chunk.body))
        if self._joined.size_bytes > MAX_JOINED_BYTES:
            self._exchange.respond_error(
                ResponseTooLarge(
                    f"The model has answered more than {MAX_JOINED_BYTES} bytes in pieces.",
                    hint="Ask for a stream with generate_stream.",
                )
            )
            job.cancel()

    def _finish(self, job: Job, reply: Reply) -> None:
        if reply.body or not self._has_begun:
            self._joined.add(self._reader.read(reply.body, is_last=True), len(reply.body))
        body = encode(self._joined.whole())
        self._exchange.finish(job, reply._replace(headers=[*reply.headers, *_JSON], body=body))


class _Events(_Answers):
    """A stream of events, each a JSON document."""

    __slots__ = ()

    def _chunk(self, job: Job, chunk: Chunk) -> None:
        event = self._event(chunk.body)
        self._exchange.chunk(job, chunk._replace(headers=[*chunk.headers, *_EVENTS], body=event))

    def _finish(self, job: Job, reply: Reply) -> None:
        has_body = len(reply.body) > 0 or not self._has_begun
        body = self._event(reply.body, is_last=True) if has_body else b""
        self._exchange.finish(job, reply._replace(headers=[*reply.headers, *_EVENTS], body=body))

    def _event(self, body: Buffer, *, is_last: bool = False) -> bytes:
        return sse.encode_event(encode(self._reader.read(body, is_last=is_last)))

    def _fail(self, job: Job, error: TslError) -> None:
        """Behind the first event an error is an event, too, and the stream ends as it should."""
        exchange = self._exchange
        if exchange.phase != STREAMING or isinstance(error, JobCancelled):
            exchange.fail(job, error)
            return
        exchange.connection.context.stats.failed(job, error)
        logger.error(
            "%s: the stream ended early: %s (%s)",
            exchange.request_id,
            error.message,
            error.code,
            extra=exchange.log_fields,
        )
        event = sse.encode_event(encode({"error": str(error)}), "error")
        exchange.finish(job, _END._replace(body=event))
