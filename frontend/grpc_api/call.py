"""One call: from the stream of HTTP/2 to messages, and back.

A `Call` is the receiver of its stream, and what a servicer answers through. It ends once: by an
answer, an error, the deadline, or the client that leaves; who comes later does nothing. What was
being done for it is told by `Call.withdraw`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError, Message

from tsl.protocol.errors import InternalError, TslError

from ..http2.codes import ErrorCode
from ..http2.stream import Stream
from ..http_api.request_ids import new_request_id
from . import wire
from .codes import CallError, StatusCode, status_of
from .inbox import Inbox
from .wire import PREFIX_BYTES, CallHead

if TYPE_CHECKING:
    from .service import Method
    from .session import Session

logger = logging.getLogger(__name__)

CONGESTED_BYTES: Final = 64 * 1024
"""With more than this waiting to be sent, whoever produces it should pause."""
_GONE: Final = Stream(0, 0, 0)
"""In the place of the stream of a call that has ended: nothing is kept alive by it."""
_COMPRESSED: Final = (0, 1)


class Call:
    """A call being served.

    Args:
        session: the connection.
        stream: its stream.
        method: what is called.
        head: what the call says of itself.

    Attributes:
        head: what the call says of itself.
        request_id: in log lines, and of the call's first job.
        withdraw: called when nobody waits for the answer any more.
        on_drained: called when what was sent has left, after `is_congested` was true.
    """

    __slots__ = (
        "_buffer",
        "_gave_id",
        "_has_begun",
        "_has_ended",
        "_inbox",
        "_method",
        "_session",
        "_started_at",
        "_stream",
        "_task",
        "_timer",
        "head",
        "on_drained",
        "request_id",
        "withdraw",
    )

    def __init__(self, session: Session, stream: Stream, method: Method, head: CallHead) -> None:
        self.head = head
        self.request_id = new_request_id()
        self.withdraw: Callable[[], object] | None = None
        self.on_drained: Callable[[], None] | None = None
        self._session = session
        self._stream = stream
        self._method = method
        self._started_at = time.monotonic()
        self._gave_id = False
        self._buffer = bytearray()
        self._inbox: Inbox | None = None
        self._has_begun = False
        self._has_ended = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Call {self._method.name}>"

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline, None if it has none."""
        limit = self.head.timeout_s
        return None if limit is None else self._started_at + limit - time.monotonic()

    def peer(self) -> str:
        """The client's address, as the access log has it."""
        return self._session.peer.decode("ascii", "replace")

    def new_job_id(self) -> str:
        """The id for a job of this call: the first has the call's own.

        Further ones, of a stream of requests, have others, because a batch may hold several of them.
        """
        if self._gave_id:
            return new_request_id()
        self._gave_id = True
        return self.request_id

    # -- what arrives ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Start what does not wait for a message."""
        if self._method.takes_stream:
            self._inbox = Inbox(self.more)
            self._start(self._inbox)

    def data(self, data: bytes, is_last: bool) -> None:
        """Bytes of messages."""
        if self._has_ended:
            return
        try:
            if self._inbox is not None:
                self._take_messages(data, self._inbox, is_last=is_last)
            elif (
                is_last
                and not self._buffer
                and data[:1] == b"\0"
                and len(data) - PREFIX_BYTES == int.from_bytes(data[1:PREFIX_BYTES], "big")
                and len(data) - PREFIX_BYTES <= self._session.max_message_bytes
            ):
                self._serve(data[PREFIX_BYTES:])  # nearly all calls: one frame has it all
            else:
                self._take_message(data, is_last=is_last)
        except CallError as error:
            self._refuse(error.code, str(error))
        except Exception as error:
            self.fail(error)

    def _take_message(self, data: bytes, *, is_last: bool) -> None:
        """A piece of the only message."""
        buffer = self._buffer
        buffer += data
        missing = self._missing()
        if missing < 0:
            msg = "There is more than one message; this method takes one."
            raise CallError(StatusCode.UNIMPLEMENTED, msg)
        if not is_last:
            self._session.want(self._stream, missing)
        elif missing:
            raise CallError(StatusCode.INVALID_ARGUMENT, "The call ends before its message does.")
        else:
            self._serve(self._pop(len(buffer)))

    def _take_messages(self, data: bytes, inbox: Inbox, *, is_last: bool) -> None:
        """A piece of a stream of messages."""
        self._buffer += data
        while self._buffer and (missing := self._missing()) <= 0:
            size = len(self._buffer) + missing
            inbox.put(self._parse(self._pop(size)), size)
        if not is_last:
            self._session.release(self._stream)
            if not inbox.is_full:
                self.more()
        elif self._buffer:
            raise CallError(StatusCode.INVALID_ARGUMENT, "The call ends before its message does.")
        else:
            inbox.close()

    def _missing(self) -> int:
        """Bytes that the first message in the buffer lacks; below zero, so many are behind it."""
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return PREFIX_BYTES - len(buffer)
        size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
        if buffer[0] not in _COMPRESSED:
            raise CallError(StatusCode.INTERNAL, "A message begins with an unknown flag.")
        limit = self._session.max_message_bytes
        if size > limit:
            raise wire.too_large(size, limit)
        return size + PREFIX_BYTES - len(buffer)

    def _pop(self, size: int) -> bytes:
        """Take the first message out of the buffer, without its prefix, decompressed."""
        buffer = self._buffer
        message = bytes(memoryview(buffer)[PREFIX_BYTES:size])
        is_compressed = buffer[0]
        del buffer[:size]
        if is_compressed:
            limit = self._session.max_message_bytes
            return wire.decompressed(message, self.head.encoding, limit)
        return message

    def _parse(self, message: bytes) -> Any:
        try:
            return self._method.parse(message)
        except DecodeError as error:
            msg = f"The message is no {self._method.request_name}."
            raise CallError(StatusCode.INVALID_ARGUMENT, msg) from error

    def more(self) -> None:
        """There is room in the inbox: let the client go on."""
        if not self._has_ended:
            self._session.want(self._stream, self._missing() if self._buffer else 0)

    def _serve(self, message: bytes) -> None:
        method = self._method
        request = self._parse(message)
        if method.is_plain:
            response = method.call(request, self)
            if response is not None:
                self.respond(response)
        else:
            self._start(request)

    # -- calls that are served by a task -----------------------------------------------------------

    def _start(self, request: Any) -> None:
        run = self._run_stream(request) if self._method.gives_stream else self._run(request)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(run)
        left_s = self.time_remaining()
        if left_s is not None:
            self._timer = loop.call_later(max(left_s, 0.0), self._expire)

    async def _run(self, request: Any) -> None:
        try:
            self.respond(await self._method.call(request, self))
        except Exception as error:
            self.fail(error)

    async def _run_stream(self, request: Any) -> None:
        try:
            # Closed here and now, whatever ends the call: that is what withdraws its jobs.
            async with aclosing(self._method.call(request, self)) as answers:
                async for answer in answers:
                    self.send(answer)
                    if self.is_congested:
                        await self._room()
            self.finish()
        except Exception as error:
            self.fail(error)

    async def _room(self) -> None:
        """Wait until what was sent has left."""
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def notice() -> None:
            if not room.done():
                room.set_result(None)

        self.on_drained = notice
        await room

    def _expire(self) -> None:
        self._refuse(StatusCode.DEADLINE_EXCEEDED, "The deadline of the call has passed.")

    # -- the answer ----------------------------------------------------------------------------------

    @property
    def is_congested(self) -> bool:
        """Whether the client is slower than this side; `on_drained` is called when it has caught up."""
        return self._stream.pending_bytes > CONGESTED_BYTES

    def respond(self, message: Message) -> None:
        """The only answer."""
        self.respond_bytes(message.SerializeToString())

    def respond_bytes(self, body: bytes) -> None:
        """The only answer, encoded."""
        if self._has_ended:
            return
        if self._has_begun:
            self._send(body)
            self.finish()
            return
        stream, encoding = self._stream, self.head.answer_encoding
        if encoding == "identity":
            data, head = wire.prefix(0, len(body)) + body, wire.HEAD
        else:
            data, head = wire.framed(body, encoding), wire.COMPRESSED_HEADS[encoding]
        self._end(StatusCode.OK)
        self._session.sender.respond(stream, head, data, wire.OK_TRAILERS)

    def send(self, message: Message) -> None:
        """One of several answers."""
        self._send(message.SerializeToString())

    def _send(self, body: bytes) -> None:
        if self._has_ended:
            return
        encoding, sender = self.head.answer_encoding, self._session.sender
        if not self._has_begun:
            self._has_begun = True
            sender.headers(self._stream, wire.COMPRESSED_HEADS.get(encoding, wire.HEAD))
        sender.data(self._stream, wire.framed(body, encoding))

    def finish(self) -> None:
        """There are no more answers."""
        if self._has_ended:
            return
        stream, sender = self._stream, self._session.sender
        if not self._has_begun:
            sender.headers(stream, wire.HEAD)
        self._end(StatusCode.OK)
        sender.end(stream, wire.OK_TRAILERS)

    def fail(self, error: Exception) -> None:
        """There is no answer, or no rest of it."""
        if isinstance(error, TslError):
            self._refuse(status_of(error), str(error))
        elif isinstance(error, CallError):
            self._refuse(error.code, str(error))
        else:
            # The boundary of a call: a bug must cost one call, and tell its caller nothing.
            fields = {"request_id": self.request_id}
            text = "%s: %s: internal error"
            logger.error(text, self.request_id, self._method.name, exc_info=error, extra=fields)
            self._refuse(StatusCode.INTERNAL, str(InternalError()))

    def _refuse(self, code: StatusCode, text: str) -> None:
        if self._has_ended:
            return
        stream = self._stream
        block = (wire.trailers if self._has_begun else wire.trailers_only)(code, text)
        self._end(code)
        self._session.sender.end(stream, block)

    # -- the end -----------------------------------------------------------------------------------

    def reset(self, code: ErrorCode) -> None:
        """The client left."""
        del code
        if not self._has_ended:
            self._end(StatusCode.CANCELLED)

    def drained(self) -> None:
        """What was sent has left."""
        if self.on_drained is not None:
            self.on_drained()

    def _end(self, code: StatusCode) -> None:
        """The first end counts: stop what is being done for the call."""
        self._has_ended = True
        self._session.ended(self, self._method, code, self._started_at)
        self._stream = _GONE
        self.on_drained = None
        if self._inbox is not None:
            self._inbox.close()
        if self._timer is not None:
            self._timer.cancel()
        withdraw, self.withdraw = self.withdraw, None
        task, self._task = self._task, None
        if code is StatusCode.OK:
            return
        if withdraw is not None:
            withdraw()
        if task is not None and task is not asyncio.current_task():
            task.cancel()
