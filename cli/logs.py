"""Logging of the server process: console, ts_log.log and model_log.log.

The formats are TorchServe's, because log shippers parse them, or JSON. The access log and the
metric logs are written by the front end itself; how all logs are set up is said by `LogSettings`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tsl.frontend.logs.fields import LOGGERS, MODEL, OFF, SERVER
from tsl.frontend.logs.line_log import iso_stamp
from tsl.frontend.logs.log_file import LogFile
from tsl.frontend.logs.settings import LogSettings

logger = logging.getLogger(__name__)

WORKER_LOGGER: Final = "tsl.worker"
WRITER_THREAD: Final = "log-writer"
_QUEUED_RECORDS: Final = 20_000
_CLOSE_S: Final = 2.0
# log4j's words where Python's differ.
_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_THREADS: Final = {"MainThread": "main"}
_LOGGERS: Final = {WORKER_LOGGER: LOGGERS[MODEL]}


class TorchServeFormatter(logging.Formatter):
    """``2026-11-22T08:39:17,775 [INFO ] main tsl.frontend.server - text``, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it if there is one."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        level = _LEVELS.get(record.levelname, record.levelname)
        thread = _THREADS.get(record.threadName or "", record.threadName)
        name = _LOGGERS.get(record.name, record.name)
        line = (
            f"{moment},{int(record.msecs):03d} [{level:<5}] {thread} {name} - "
            f"{_ids_before(record)}{record.getMessage()}"
        )
        trace = _traceback_of(record)
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object per record; a traceback is a field of it, and so is the request's id."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields: dict[str, Any] = {
            "time": iso_stamp(int(record.created * 1000)).decode(),
            "log": MODEL if record.name == WORKER_LOGGER else SERVER,
            "level": _LEVELS.get(record.levelname, record.levelname),
            "thread": _THREADS.get(record.threadName or "", record.threadName),
            "logger": _LOGGERS.get(record.name, record.name),
            "message": record.getMessage(),
        }
        request_id = getattr(record, "request_id", "")
        if request_id:
            fields["request_id"] = request_id
        trace = _traceback_of(record)
        if trace:
            fields["exception"] = trace
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _ids_before(record: logging.LogRecord) -> str:
    """``[ids] `` before what a worker has printed; the server's own lines say it in their text."""
    ids = getattr(record, "request_id", "")
    return f"[{ids}] " if ids and record.name == WORKER_LOGGER else ""


def _traceback_of(record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    return record.exc_text or ""


class FileHandler(logging.Handler):
    """Writes records to a `LogFile`.

    While that fails, as on a full disk, records are counted, and the count is the first line when
    it works again.

    Args:
        file: where to.
    """

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self._file = file
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            text = self.format(record)
            if self._lost:
                note = f"{self._lost} log records are missing: the file could not be written"
                made = {**record.__dict__, "msg": note, "args": (), "exc_info": None}
                text = f"{self.format(logging.makeLogRecord(made))}\n{text}"
            self._file.write(f"{text}\n".encode("utf-8", "replace"))
        except OSError:
            self._lost += 1  # nowhere to say it; the console has the record itself
        else:
            self._lost = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


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

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Make the texts now: arguments may change, and frames hold on to requests' bodies."""
        made = copy.copy(record)
        made.msg = made.message = record.getMessage()
        made.args = None
        made.exc_text = _traceback_of(record)
        made.exc_info = None
        return made

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


def configure_logging(settings: LogSettings) -> LogWriters:
    """Send the log to the console and to files; call once, before the server runs.

    A folder that cannot be written costs the files and a warning, never the server.

    Args:
        settings: how the logs are written. Where a file cannot be opened, the console takes over.

    Returns:
        The writers; close them at the end.
    """
    level = settings.levels[SERVER]
    logging.getLogger().setLevel(max(logging.WARNING, level))
    logging.getLogger("tsl").setLevel(level)
    logging.getLogger(WORKER_LOGGER).setLevel(settings.levels[MODEL])
    logging.captureWarnings(True)
    handlers, problem = _open_files(settings)
    writers = [LogWriter(handlers)]
    shown = {log for log in (SERVER, MODEL) if problem or log in settings.on_console}
    if shown and sys.stdout is not None:
        console = _formatted(logging.StreamHandler(sys.stdout), settings)
        console.addFilter(_only(shown))
        writers.append(LogWriter([console]))
    for writer in writers:
        logging.getLogger().addHandler(writer.handler)
    if problem:
        logger.warning("No log files: %s", problem)
    return LogWriters(*writers)


def _only(logs: set[str]) -> Callable[[logging.LogRecord], bool]:
    """A filter for the records of some logs."""
    return lambda record: (MODEL if record.name == WORKER_LOGGER else SERVER) in logs


def _open_files(settings: LogSettings) -> tuple[list[logging.Handler], str]:
    """The files of the logs that are not off, or why there are none."""
    handlers: list[logging.Handler] = []
    for log in (SERVER, MODEL):
        if settings.levels[log] >= OFF:
            continue
        try:
            handler = _formatted(FileHandler(settings.open_file(log)), settings)
        except OSError as error:
            reason = error.strerror or str(error)
            return [], f"{settings.files[log].parent} cannot be written: {reason}"
        if log == MODEL:
            handler.addFilter(_only({MODEL}))
        handlers.append(handler)
    return handlers, ""


def _formatted(handler: logging.Handler, settings: LogSettings) -> logging.Handler:
    handler.setFormatter(JsonFormatter() if settings.is_json else TorchServeFormatter())
    return handler
