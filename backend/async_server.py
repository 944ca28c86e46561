"""Serve a coroutine handler: one call per batch, any number of them at a time, in one event loop.

The loop is made before the model is loaded, because ``initialize`` may run things in it. While
serving, the loop watches the worker's socket; answers are written at once, which blocks the loop
only for as long as the front end does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from tsl.protocol.errors import HandlerFailed, JobCancelled, ProtocolError
from tsl.protocol.frames import Failure, Frame, Ping, Pong, Predict, Result, Shutdown

from .connection import Connection
from .service import Service, write_log
from .streaming import ReplyStream, set_stream_of_call


def make_loop() -> asyncio.AbstractEventLoop:
    """Make the loop that the model is loaded and served in, and let the thread know it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


class AsyncServer:
    """Answers batches until the front end asks for the end.

    Args:
        connection: to the front end.
        service: the loaded model.
        send: sends a frame.
        max_response_bytes: limit for one encoded value.
    """

    def __init__(
        self,
        connection: Connection,
        service: Service,
        send: Callable[[Frame], None],
        max_response_bytes: int,
    ) -> None:
        self._connection = connection
        self._service = service
        self._send = send
        self._max_response_bytes = max_response_bytes
        self._calls: dict[int, asyncio.Task[Result | Failure]] = {}
        self._unwanted: set[int] = set()
        self._is_stopping = False
        self._failure: BaseException | None = None
        self._done = asyncio.Event()

    def serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve until told to stop, and until the calls that run then have ended.

        Args:
            loop: from `make_loop`; it is closed at the end.

        Raises:
            ConnectionError: the front end is gone.
            ProtocolError: it sent something that it must not send.
            BaseException: what a handler raised that is no `Exception`.
        """
        asyncio.set_event_loop(loop)  # loading may have set another one
        loop.add_reader(self._connection.fileno(), self._on_readable)
        try:
            loop.call_soon(self._on_readable)  # what came together with the order to load
            loop.run_until_complete(self._done.wait())
        finally:
            loop.remove_reader(self._connection.fileno())
        if self._failure is not None:
            raise self._failure

    def _on_readable(self) -> None:
        self._connection.poll()
        try:
            while (frame := self._connection.receive_nowait()) is not None:
                self._take(frame)
        except (ProtocolError, ConnectionError) as error:
            self._fail(error)
            return
        if self._connection.has_cancelled:
            self._cancel_calls()
        if self._connection.has_ended:
            self._done.set()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Predict):
            task = asyncio.get_running_loop().create_task(self._call(frame))
            self._calls[frame.batch_id] = task
            task.add_done_callback(partial(self._on_call_done, frame))
        elif isinstance(frame, Ping):
            self._send(Pong(frame.nonce))
        elif isinstance(frame, Shutdown):
            self._is_stopping = True
            if not self._calls:
                self._done.set()
        else:
            msg = f"{type(frame).__name__} while serving"
            raise ProtocolError(msg)

    def _cancel_calls(self) -> None:
        """Nobody waits for these any more: coroutines are told by cancelling them, once."""
        for batch_id, task in self._calls.items():
            if batch_id not in self._unwanted and self._connection.is_cancelled(batch_id, 0):
                self._unwanted.add(batch_id)
                task.cancel()

    async def _call(self, batch: Predict) -> Result | Failure:
        stream = ReplyStream(self._connection, self._max_response_bytes)
        set_stream_of_call(stream)
        context = self._service.context.for_call()
        return await self._service.predict_async(batch, stream, context)

    def _on_call_done(self, batch: Predict, task: asyncio.Task[Result | Failure]) -> None:
        """Answer. Not at the end of the coroutine: one cancelled early would never come there."""
        number = batch.batch_id
        del self._calls[number]
        self._connection.forget_answered(self._calls)
        try:
            self._send(self._cancelled(batch) if task.cancelled() else task.result())
        except (
            BaseException
        ) as error:  # the connection's, or one of the handler that is no Exception
            self._fail(error)
        self._unwanted.discard(number)
        if self._is_stopping and not self._calls:
            self._done.set()

    def _cancelled(self, batch: Predict) -> Failure:
        """The answer to a call that was cancelled, by us or by the handler itself."""
        if batch.batch_id in self._unwanted:
            return Failure(batch.batch_id, JobCancelled.code, "", 0)
        write_log(f"The handler cancelled the call for request {batch.rows[0].request_id}.\n")
        return Failure(batch.batch_id, HandlerFailed.code, "", 0)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._done.set()
