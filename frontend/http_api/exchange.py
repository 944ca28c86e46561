"""One request and the writing of its answer: where HTTP and jobs meet.

An `Exchange` is the `ReplySink` of its job, and the object endpoints work on. It decides what the
response looks like; `HttpConnection` owns the bytes' way out. An exchange answers once: the first
of `finish`, `fail`, `respond` or the connection's end settles it.
"""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from tsl.protocol.errors import InternalError, JobCancelled, TslError
from tsl.protocol.frames import Buffer, Chunk, Reply

from . import sse
from .messages import (
    CLOSE,
    JSON_TYPE,
    KEEP_ALIVE,
    LAST_CHUNK,
    STREAM_NEXT,
    Request,
    handler_headers,
    json_body,
    known_headers,
    status_line,
)
from .request_ids import new_request_id

if TYPE_CHECKING:
    from ..jobs import Job
    from .connection import HttpConnection

logger = logging.getLogger(__name__)


class Phase(IntEnum):
    """How much of the response has been written."""

    WAITING = 0
    STREAMING = 1
    DONE = 2


JOIN_BELOW_BYTES: Final = 16 * 1024
"""Below this size one copied write is cheaper than a vectored one (``benchmarks/micro/join.py``)."""
WAITING: Final = Phase.WAITING
STREAMING: Final = Phase.STREAMING
DONE: Final = Phase.DONE
_NO_BODY: Final = (204, 304)
_KSERVE: Final = (b"/v1/", b"/v2")
"""Paths of KServe's protocols."""


class Exchange:
    """A request being answered.

    Args:
        connection: where the response goes.
        request: what is answered.
    """

    __slots__ = (
        "_is_chunked",
        "_is_sse",
        "connection",
        "job",
        "phase",
        "request",
        "request_id",
        "status",
    )

    def __init__(self, connection: HttpConnection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.request_id = new_request_id()
        self.phase = WAITING
        self.job: Job | None = None
        self.status = 0
        self._is_chunked = False
        self._is_sse = False

    def __repr__(self) -> str:
        return f"<Exchange {self.request_id} {self.phase.name}>"

    @property
    def log_fields(self) -> dict[str, str]:
        """What a line about this request carries in a structured log."""
        return {"request_id": self.request_id}

    # -- answers of the server itself --------------------------------------------------------

    def respond_json(self, document: Any, status: int = 200) -> None:
        """Answer with a JSON document."""
        self.respond(json_body(document), status, JSON_TYPE)

    def respond(self, body: bytes, status: int, headers: bytes = b"", phrase: str = "") -> None:
        """Answer with complete header lines and a body."""
        if self.phase != WAITING:
            return
        head = self._head(status, phrase, headers, self.connection.context.cors)
        if status in _NO_BODY:
            self._end(status, head + self._closing(status))
            return
        head += b"content-length: %d\r\n%s" % (len(body), self._closing(status))
        self._end(status, head if self.request.method == b"HEAD" else head + body)

    def respond_error(self, error: TslError, more_headers: bytes = b"") -> None:
        """Answer with an error document."""
        document = self._document(error)
        status: int = document["code"]
        headers = JSON_TYPE + more_headers
        if error.retry_after_s is not None and self.connection.context.standard_status_codes:
            headers += b"Retry-After: %d\r\n" % error.retry_after_s
        if status == 401:
            headers += b"WWW-Authenticate: Bearer\r\n"
        self.respond(json_body(document), status, headers)

    def _document(self, error: TslError) -> dict[str, Any]:
        status = error.status(standard=self.connection.context.standard_status_codes)
        document = {"code": status, "type": error.type_name, "message": str(error)}
        if self.request.target.startswith(_KSERVE):
            document["error"] = document["message"]  # where clients of KServe and Triton look
        return document

    # -- answers of a model: the sink of a job --------------------------------------------------

    def finish(self, job: Job, reply: Reply) -> None:
        """The model's answer, or the last piece of its stream."""
        if self.phase != WAITING:
            self._finish_stream(job, reply)
            return
        status, phrase, headers, _, body = reply
        context, request = self.connection.context, self.request
        head = request.head
        context.stats.answered(job, status or 200)
        lines = b""
        if headers:
            lines, names = known_headers(tuple(headers))
            is_usual = names.isdisjoint(context.cors_lines)
        else:
            is_usual = True
        if (
            phrase
            or status not in (0, 200)
            or head.method == b"HEAD"
            or (head.accept and sse.is_wanted(head.accept))
            or not is_usual
        ):
            self._finish_dressed(reply)
            return
        # The usual answer: 200, and headers that came before.
        length = len(body)
        joined, rest = (body, b"") if length < JOIN_BELOW_BYTES else (b"", body)
        data = b"".join(
            (
                b"HTTP/1.1 200 OK\r\nx-request-id: ",
                self.request_id.encode("ascii"),
                lines,
                context.plain_lines,
                b"%d\r\n" % length,
                KEEP_ALIVE if request.keep_alive and not context.is_draining else CLOSE,
                joined,
            )
        )
        self.phase = DONE  # as `_end`, without the call
        self.status = 200
        self.job = None
        self.connection.exchange_done(self, data, rest)

    def _finish_stream(self, job: Job, reply: Reply) -> None:
        if self.phase == STREAMING:
            self.connection.context.stats.streamed(job)
            self.connection.is_gathering = True  # until `_end`
            self._write_piece(reply.body)
            self.connection.stream_ended()
            self._end(self.status, LAST_CHUNK if self._is_chunked else b"")

    def _finish_dressed(self, reply: Reply) -> None:
        status = reply.status or 200
        if not 200 <= status <= 599:
            logger.error(
                "%s: the handler set the status %d", self.request_id, status, extra=self.log_fields
            )
            self.respond_error(InternalError("The handler set a status that HTTP does not have."))
            return
        lines, names = handler_headers(reply.headers)
        body = bytes(reply.body)
        if status < 300 and "content-type" not in names and sse.is_wanted(self.request.accept):
            lines += sse.CONTENT_TYPE
            body = sse.encode_event(body)
        head = self._head(status, reply.phrase, lines, self._cors_without(names))
        if status in _NO_BODY:
            self._end(status, head + self._closing(status))
            return
        head += b"content-length: %d\r\n%s" % (len(body), self._closing(status))
        self._end(status, head if self.request.method == b"HEAD" else head + body)

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece of the model's stream; it leaves at once, with others that came with it."""
        connection = self.connection
        if job.channel is not None and not connection.is_gathering:
            connection.is_gathering = True
            job.channel.call_after_read(connection.write_gathered)
        if self.phase == WAITING:
            self._begin_stream(job, chunk)
        if self.phase == STREAMING:
            self._write_piece(chunk.body)
            connection.hold_if_slow(job.channel)

    def fail(self, job: Job, error: TslError) -> None:
        """The model has no answer, or no rest of it."""
        if self.phase == DONE:
            return
        self.connection.context.stats.failed(job, error)
        if isinstance(error, JobCancelled):
            self.phase = DONE
            self.job = None
            self.connection.exchange_aborted(self, error.http_status)
        elif self.phase == STREAMING:
            self._break_stream(error)
        else:
            self.respond_error(error)

    def abandon(self) -> None:
        """The client left."""
        if self.phase == DONE:
            return
        if self.job is not None and not self.job.is_settled:
            self.job.cancel()
        else:
            self.phase = DONE
            self.connection.exchange_aborted(self, JobCancelled.http_status)

    # -- streams --------------------------------------------------------------------------------

    def _begin_stream(self, job: Job, chunk: Chunk) -> None:
        self.phase = STREAMING
        self.status = chunk.status if 200 <= chunk.status <= 599 else 200
        self.connection.context.stats.answered(job, self.status)
        self._is_chunked = self.request.is_http_1_1
        lines, names = handler_headers(chunk.headers)
        if sse.is_wanted(self.request.accept) and "content-type" not in names:
            self._is_sse = True
            lines += sse.CONTENT_TYPE
        if "ts_stream_next" not in names:
            lines += STREAM_NEXT
        head = self._head(self.status, chunk.phrase, lines, self._cors_without(names))
        if self.status in _NO_BODY:
            head += self._closing(self.status)
        elif self._is_chunked:
            head += b"transfer-encoding: chunked\r\n" + self._closing(self.status)
        else:
            self.request.keep_alive = False
            head += CLOSE  # HTTP/1.0: the end of the connection is the end of the stream
        if self.request.method == b"HEAD" or self.status in _NO_BODY:
            self._end(self.status, head)
            job.cancel()
        else:
            self.connection.write(head)

    def _write_piece(self, data: Buffer) -> None:
        if not data:
            return  # an empty chunk would be the end of the stream
        if self._is_sse:
            data = sse.encode_event(data)
        if self._is_chunked:
            self.connection.write(b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self.connection.write(data)

    def _break_stream(self, error: TslError) -> None:
        """End a stream so that the client can tell: no last chunk, and the connection drops."""
        logger.error(
            "%s: the stream ended early: %s (%s)",
            self.request_id,
            error.message,
            error.code,
            extra=self.log_fields,
        )
        if self._is_sse:
            event = sse.encode_event(json_body(self._document(error)).rstrip(), "error")
            self.connection.write(
                b"%x\r\n%b\r\n" % (len(event), event) if self._is_chunked else event
            )
        self.phase = DONE
        self.job = None
        self.connection.exchange_broken(self)

    # -- heads ------------------------------------------------------------------------------------

    def _head(self, status: int, phrase: str, headers: bytes, cors: bytes) -> bytes:
        return b"%sx-request-id: %s\r\n%s%s%s" % (
            status_line(status, phrase),
            self.request_id.encode("ascii"),
            headers,
            self.connection.context.clock.headers,
            cors,
        )

    def _cors_without(self, names: set[str]) -> bytes:
        """The configured CORS headers, less those that the handler has set itself."""
        lines = self.connection.context.cors_lines
        return b"".join(line for name, line in lines.items() if name not in names)

    def _closing(self, status: int) -> bytes:
        """Errors end the connection, as TorchServe does it; so do drains and clients' wishes."""
        if status >= 400 or not self.request.keep_alive or self.connection.context.is_draining:
            self.request.keep_alive = False
            return CLOSE
        return KEEP_ALIVE

    def _end(self, status: int, data: bytes, body: Buffer = b"") -> None:
        self.phase = DONE
        self.status = status
        self.job = None  # it refers to this exchange: without the cycle both go at once
        self.connection.exchange_done(self, data, body)
