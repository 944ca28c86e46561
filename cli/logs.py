"""Logging of the server process: console, ts_log.log and model_log.log.

The format is TorchServe's, because log shippers parse it. The access log and the metric logs are
written by the front end itself.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

SERVER_LOG: Final = "ts_log.log"
MODEL_LOG: Final = "model_log.log"
WORKER_LOGGER: Final = "tsl.worker"

_ROLL_AT_BYTES: Final = 100 * 1024 * 1024
_OLD_FILES_KEPT: Final = 5
WRITER_THREAD: Final = "log-writer"
_QUEUED_RECORDS: Final = 20_000
_CLOSE_S: Final = 2.0
# log4j's words where Python's differ.
_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_THREADS: Final = {"MainThread": "main"}


class TorchServeFormatter(logging.Formatter):
    """``2026-11-22T08:39:17,775 [INFO ] main tsl.frontend.server - text``, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it if there is one."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        level = _LEVELS.get(record.levelname, record.levelname)
        thread = _THREADS.get(record.threadName or "", record.threadName)
        line = (
            f"{moment},{int(record.msecs):03d} [{level:<5}] {thread} {record.name} - "
            f"{record.getMessage()}"
        )
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


class LogWriter:
    """Writes log records in a thread of its own.

    Whoever logs only appends to a bounded queue: a console pipe that nobody reads, or a slow disk,
    must not stop the event loop. What does not fit any more is dropped and counted.

    Args:
        handlers: where records go.
    """

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        self._records: queue.Queue[Any] = queue.Queue(maxsize=_QUEUED_RECORDS)
        self._listener = logging.handlers.QueueListener(
            self._records, *handlers, respect_handler_level=True
        )
        self._handlers = handlers
        self.handler: Final = _DroppingHandler(self._records)
        self._listener.start()
        if self._listener._thread is not None:  # noqa: SLF001 - see `close`
            self._listener._thread.name = WRITER_THREAD  # noqa: SLF001

    def close(self) -> None:
        """Write what is pending; waits a moment for a writer that is stuck, and then gives up."""
        logging.getLogger().removeHandler(self.handler)
        thread = self._listener._thread  # noqa: SLF001 - `stop` would wait for ever
        with contextlib.suppress(queue.Full):
            self._records.put(None, timeout=_CLOSE_S)  # the listener's own sentinel
        if thread is not None:
            thread.join(_CLOSE_S)
            if not thread.is_alive():
                for handler in self._handlers:
                    handler.close()


class _DroppingHandler(logging.handlers.QueueHandler):
    """Puts records into a queue; says how many were lost as soon as there is room again."""

    def __init__(self, records: queue.Queue[Any]) -> None:
        super().__init__(records)
        self._lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never waits."""
        try:
            if self._lost:
                text = f"{self._lost} log records were dropped: the log could not be written"
                note = logging.makeLogRecord({**record.__dict__, "msg": text, "message": text})
                self.queue.put_nowait(note)
                self._lost = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost += 1


class LogWriters:
    """The writers of one process: files and console do not wait for each other."""

    def __init__(self, *writers: LogWriter) -> None:
        self._writers = writers

    def close(self) -> None:
        """Close them all."""
        for writer in self._writers:
            writer.close()


def configure_logging(log_location: Path, *, console: bool = True) -> LogWriters:
    """Send the log to the console and to files; call once, before the server runs.

    A folder that cannot be written costs the files and a warning, never the server.

    Args:
        log_location: folder of the log files; made if it does not exist.
        console: also write to stdout; it is the fallback in any case.

    Returns:
        The writers; close them at the end.
    """
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    logging.getLogger("tsl").setLevel(logging.INFO)
    logging.captureWarnings(True)
    handlers, problem = _open_files(log_location)
    writers = [LogWriter(handlers)]
    if (console or problem) and sys.stdout is not None:
        writers.append(LogWriter([_formatted(logging.StreamHandler(sys.stdout))]))
    for writer in writers:
        root.addHandler(writer.handler)
    if problem:
        logger.warning("No log files: %s cannot be written: %s", log_location, problem)
    return LogWriters(*writers)


def _open_files(log_location: Path) -> tuple[list[logging.Handler], str]:
    """Both files, or why there are none."""
    try:
        log_location.mkdir(parents=True, exist_ok=True)
        server_log = _file(log_location / SERVER_LOG)
        model_log = _file(log_location / MODEL_LOG)
    except OSError as error:
        return [], error.strerror or str(error)
    model_log.addFilter(logging.Filter(WORKER_LOGGER))
    return [server_log, model_log], ""


def _file(path: Path) -> logging.Handler:
    return _formatted(
        logging.handlers.RotatingFileHandler(
            path, maxBytes=_ROLL_AT_BYTES, backupCount=_OLD_FILES_KEPT, encoding="utf-8"
        )
    )


def _formatted(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(TorchServeFormatter())
    return handler
