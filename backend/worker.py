"""A worker's life: greet, load one model, answer batches until told to stop.

Knows frames and their order, nothing of processes: `__main__` sets those up.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tsl.protocol.errors import JobCancelled, ProtocolError
from tsl.protocol.frames import (
    PROTOCOL_VERSION,
    Done,
    Failure,
    Frame,
    Hello,
    Load,
    Loaded,
    LoadFailure,
    MetricRecord,
    Metrics,
    Ping,
    Pong,
    Predict,
    Shutdown,
)

from .connection import Connection
from .loader import ModelLoader, load_error_code
from .process import return_free_memory
from .service import Service, write_traceback
from .streaming import ReplyStream, set_current_stream

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

EXIT_STOPPED: Final = 0
"""The front end asked for the end, or closed the socket."""
EXIT_DIED: Final = 1
"""Something unexpected; a new worker may well live."""
EXIT_CANNOT_LOAD: Final = 3
"""The model cannot be loaded; a new worker would most likely fail in the same way."""

DIED: Final = "Backend worker process died."
IDLE_S: Final = 5.0
"""A worker that has had nothing to do for so long gives its working memory back. Fresh pages cost
the next request some milliseconds; a worker that is asked more often never pays."""
MAX_REASON: Final = 500
"""Characters of an error that go to the front end; the log has all of them."""


class Preloaded:
    """A model that was loaded before the worker's process was forked.

    Args:
        load: what was loaded.
        records: where its metric updates go.
    """

    def __init__(self, load: Load, records: list[MetricRecord]) -> None:
        self.load = load
        self.records = records
        self.service: Service | None = None


class Worker:
    """Serves one model over one connection.

    Args:
        connection: connected to the front end.
        worker_id: the name the front end gave this worker.
        token: the secret that proves it.
        pid: operating-system process id.
        prepare: called with the `Load` frame before anything of the model is imported.
        preloaded: the model, when this process was forked with it.
    """

    def __init__(
        self,
        connection: Connection,
        worker_id: str,
        token: str,
        pid: int,
        prepare: Callable[[Load], None],
        preloaded: Preloaded | None = None,
    ) -> None:
        self._connection = connection
        self._hello = Hello(PROTOCOL_VERSION, worker_id, token, pid)
        self._prepare = prepare
        self._preloaded = preloaded
        self._records: list[MetricRecord] = [] if preloaded is None else preloaded.records
        self._loop: AbstractEventLoop | None = None

    def run(self) -> int:
        """Live.

        Returns:
            The exit code of the process.

        Raises:
            ProtocolError: the front end broke the protocol.
            BaseException: what a handler raised that is no `Exception`.
        """
        try:
            self._connection.send(self._hello)
            load = self._connection.receive()
            if not isinstance(load, Load):
                return EXIT_STOPPED
            loaded = self._load(load)
            if loaded is None:
                return EXIT_CANNOT_LOAD
            self._serve(load, *loaded)
        except ConnectionError:
            pass  # the front end is gone; there is nobody left to tell
        return EXIT_STOPPED

    def record(self, record: MetricRecord) -> None:
        """Take a metric's update; it leaves with the next frame."""
        self._records.append(record)

    # Loading.

    def _load(self, load: Load) -> tuple[Service, ReplyStream] | None:
        stream = ReplyStream(self._connection, load.max_response_bytes, is_silent=not load.answers)
        set_current_stream(None if load.is_async else stream)
        if load.is_async:
            self._loop = _make_loop()
        started = perf_counter()
        try:
            self._prepare(load)
            service = self._preloaded_service(load) or ModelLoader.load(load, self._records.append)
        except BaseException as error:  # the boundary to user code; even sys.exit
            write_traceback(DIED, error)
            self._send(LoadFailure(load_error_code(error), _reason(error)))
            return None
        load_ms = (perf_counter() - started) * 1000
        # What loading made stays for good: keep it out of all further collections.
        gc.collect()
        gc.freeze()
        self._send(Loaded(load_ms))
        return service, stream

    def _preloaded_service(self, load: Load) -> Service | None:
        """The model this process was forked with, if that is what is asked for."""
        preloaded = self._preloaded
        return preloaded.service if preloaded is not None and preloaded.load == load else None

    # Serving.

    def _serve(self, load: Load, service: Service, stream: ReplyStream) -> None:
        if self._loop is not None:
            from .async_server import AsyncServer

            server = AsyncServer(self._connection, service, self._send, load.max_response_bytes)
            server.serve(self._loop)
            return
        self._connection.call_when_idle(return_free_memory, IDLE_S)
        self._connection.poll_busily(load.busy_poll_us / 1e6)
        while self._serve_next(service, stream):
            pass

    def _serve_next(self, service: Service, stream: ReplyStream) -> bool:
        """Wait for one frame and answer it. No frame outlives this call, however big it was."""
        frame = self._connection.receive()
        if type(frame) is Predict:
            if stream.is_silent:
                service.predict(frame, stream)  # its part of the work; rank 0 has the answer
                self._send(Done(frame.batch_id))
            elif self._connection.has_cancelled and self._is_cancelled(frame):
                self._send(Failure(frame.batch_id, JobCancelled.code, "", 0))
            else:
                self._send(service.predict(frame, stream))
            self._connection.forget_answered()
        elif type(frame) is Ping:
            self._send(Pong(frame.nonce))
        elif frame is None or type(frame) is Shutdown:
            return False
        else:
            msg = f"{type(frame).__name__} while serving"
            raise ProtocolError(msg)
        return True

    def _is_cancelled(self, batch: Predict) -> bool:
        return all(
            self._connection.is_cancelled(batch.batch_id, row) for row in range(len(batch.rows))
        )

    def _send(self, frame: Frame) -> None:
        """Send a frame, behind the metric updates made before it."""
        if not self._records:
            self._connection.send(frame)
            return
        records = self._records.copy()
        del self._records[: len(records)]  # a thread of the handler may have appended meanwhile
        try:
            self._connection.send(Metrics(records), frame)
        except (ValueError, OverflowError) as error:  # while packing; nothing has been sent
            write_traceback("Metrics of the handler are dropped:", error)
            self._connection.send(frame)


def _make_loop() -> AbstractEventLoop:
    from .async_server import make_loop  # most workers never need asyncio

    return make_loop()


def _reason(error: BaseException) -> str:
    """The last line of an error's traceback, short enough for a terminal."""
    line = " ".join(traceback.format_exception_only(error)[-1].split())
    return line.encode("utf-8", "replace").decode()[:MAX_REASON]
