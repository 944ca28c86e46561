"""Intermediate answers of a running batch, and whether anybody still waits for it.

A worker has one `ReplyStream`. It is open while a handler call runs and refuses chunks at all
other times, so that a thread the handler left behind cannot write into somebody else's answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from threading import Lock
from time import monotonic
from typing import Any, Final, Protocol

from tsl.protocol.frames import Chunk, Frame, Predict, new_chunk

from .context import Context
from .encoding import encode_element

LOOK_EVERY_S: Final = 0.001
"""A handler that sends quickly does not look for clients that have left at each piece."""


class ClientDisconnected(Exception):
    """All clients of the running batch are gone: stop working, nobody reads the answer.

    An ordinary exception: a handler that does not expect it ends at once, one that cleans up
    after any exception does so.
    """


class Outlet(Protocol):
    """What a stream needs of the connection; see `connection.Connection`."""

    @property
    def has_cancelled(self) -> bool:
        """Whether any row may be cancelled."""

    def poll(self) -> None:
        """Take in what has arrived."""

    def is_cancelled(self, batch_id: int, row: int) -> bool:
        """Whether nobody waits for this row."""

    def send(self, *frames: Frame) -> None:
        """Send frames in one write."""


class ReplyStream:
    """The running batch's line to the front end. All methods may be called from any thread.

    Args:
        outlet: the connection.
        max_response_bytes: limit for one encoded value.
        is_silent: whether this process only takes part: of a group of processes that serve one
            model together, the first one speaks.
    """

    def __init__(self, outlet: Outlet, max_response_bytes: int, *, is_silent: bool = False) -> None:
        self._outlet = outlet
        self._max_response_bytes = max_response_bytes
        self.is_silent = is_silent
        self._lock = Lock()
        self._look_at = 0.0
        self._batch: Predict | None = None
        self._context: Context | None = None
        self._numbers: Sequence[int] | None = None

    def open(self, batch: Predict, context: Context, numbers: Sequence[int] | None = None) -> None:
        """A handler call begins.

        Args:
            batch: what it works on.
            context: where it says status and headers.
            numbers: for a part of a batch, the number in the whole batch of each of its rows.
        """
        with self._lock:
            self._batch = batch
            self._context = context
            self._numbers = numbers

    def close(self) -> None:
        """The handler call is over: its batch gets no chunks from now on."""
        with self._lock:
            self._batch = None
            self._context = None

    @property
    def request_ids(self) -> str:
        """The ids of the running batch's requests, separated by commas; "" when none is running."""
        batch = self._batch
        return "" if batch is None else ",".join([row.request_id for row in batch.rows])

    def is_cancelled(self, row: int) -> bool:
        """Whether nobody waits for this row any more; False when no batch is running."""
        batch = self._batch
        if batch is None:
            return False
        self._outlet.poll()
        return self._outlet.is_cancelled(batch.batch_id, self._number(row))

    def _number(self, row: int) -> int:
        """What the front end calls a row of the running call."""
        return row if self._numbers is None else self._numbers[row]

    def is_abandoned(self) -> bool:
        """Whether nobody waits for any row, as far as is known without looking again."""
        batch = self._batch
        if batch is None or not self._outlet.has_cancelled:
            return False
        return all(
            self._outlet.is_cancelled(batch.batch_id, self._number(row))
            for row in range(len(batch.rows))
        )

    def send(self, values: Sequence[Any], req_id_map: Mapping[int, str]) -> None:
        """Send one value to each of some requests, in one write.

        Args:
            values: indexed by the keys of ``req_id_map``.
            req_id_map: index into ``values`` → request id. A key that comes with an id of
                another batch is taken for the row itself.

        Raises:
            ClientDisconnected: nobody waits for any row of the batch.
            InvalidOutput, ResponseTooLarge: a value cannot be sent.
            LookupError: ``values`` is too short, or there is no such row.
            RuntimeError: no handler call is running.
        """
        if self.is_silent:
            return
        with self._lock:
            batch, context = self._batch, self._context
            if batch is None or context is None:
                msg = (
                    "an intermediate response was sent when no handler call was running; "
                    "end your threads before handle() returns"
                )
                raise RuntimeError(msg)
            now = monotonic()
            if now >= self._look_at:
                self._look_at = now + LOOK_EVERY_S
                self._outlet.poll()
            if self._outlet.has_cancelled and self.is_abandoned():
                raise ClientDisconnected("all clients of this batch have disconnected")
            chunks = self._chunks(batch, context, values, req_id_map)
            if not chunks:
                return
            try:
                self._outlet.send(*chunks)
            except ConnectionError as error:
                raise ClientDisconnected("the front end is gone") from error

    def _chunks(
        self,
        batch: Predict,
        context: Context,
        values: Sequence[Any],
        req_id_map: Mapping[int, str],
    ) -> list[Chunk]:
        """The pieces for those who still wait."""
        limit, number_of_batch = self._max_response_bytes, batch.batch_id
        encoder, is_cancelled = context.chunk_encoder, self._outlet.is_cancelled
        some_left = self._outlet.has_cancelled
        chunks = []
        for key, row in _rows_of(batch, context, req_id_map):
            number = row if self._numbers is None else self._numbers[row]
            if some_left and is_cancelled(number_of_batch, number):
                continue
            value = values[key] if encoder is None else encoder(row, values[key])
            head = context.reply_head(row)
            chunks.append(new_chunk((number_of_batch, number, *head, encode_element(value, limit))))
        return chunks


def _rows_of(
    batch: Predict, context: Context, req_id_map: Mapping[int, str]
) -> list[tuple[int, int]]:
    """Pair each key of a request id map with the row it speaks of."""
    if req_id_map is context.request_ids:
        return [(row, row) for row in req_id_map]
    known = {row.request_id: index for index, row in enumerate(batch.rows)}
    pairs = [(key, known.get(request_id, key)) for key, request_id in req_id_map.items()]
    for key, row in pairs:
        if not 0 <= row < len(batch.rows):
            msg = f"the batch has {len(batch.rows)} rows, there is no row {key}"
            raise LookupError(msg)
    return pairs


_current: ReplyStream | None = None
_of_this_call: Final[ContextVar[ReplyStream | None]] = ContextVar("stream", default=None)


def set_current_stream(stream: ReplyStream | None) -> None:
    """Name this process's stream, for handlers that send without a context.

    The old name of the function lets handlers leave the context out; a worker process has one
    stream for all its life, so there is only one that can be meant.
    """
    global _current
    _current = stream


def set_stream_of_call(stream: ReplyStream) -> None:
    """Name the stream of a call that runs beside others, in the context of its task."""
    _of_this_call.set(stream)


def running_request_ids() -> str:
    """Ids of the requests that whoever asks is working on, separated by commas; "" for none."""
    stream = _of_this_call.get() or _current
    return "" if stream is None else stream.request_ids


def send_intermediate_predict_response(
    ret: Sequence[Any],
    req_id_map: Mapping[int, str],
    message: str,
    code: int,
    context: Context | None = None,
) -> None:
    """Send one chunk to each of some requests at once; the handler's result is the last chunk.

    Args:
        ret: values to send, indexed by the keys of ``req_id_map``.
        req_id_map: index → request id; normally ``context.request_ids``.
        message: for compatibility; not sent.
        code: for compatibility; the status comes from the context.
        context: what ``handle`` was called with.

    Raises:
        ClientDisconnected: nobody waits for any row of the batch; stop working.
        InvalidOutput, ResponseTooLarge: a value cannot be sent.
        LookupError: ``ret`` is too short, or there is no such row.
        RuntimeError: no handler call is running.
    """
    del message, code
    stream = getattr(context, "cl_socket", None)
    if not isinstance(stream, ReplyStream):
        stream = _current
    if stream is None:
        msg = "intermediate responses can be sent only inside of a worker, from handle()"
        raise RuntimeError(msg)
    stream.send(ret, req_id_map)
