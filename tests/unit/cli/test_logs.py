"""Logging of the server process."""

from __future__ import annotations

import io
import json
import logging
import queue
import re
import sys
import threading

import pytest

from tsl.cli.logs import (
    FileHandler,
    JsonFormatter,
    TorchServeFormatter,
    _DroppingHandler,
    configure_logging,
)
from tsl.frontend.config import ServerConfig
from tsl.frontend.logs.settings import LogSettings


@pytest.fixture
def clean_logging():
    """Take away what a test adds to the process-wide loggers."""
    loggers = [logging.getLogger(name) for name in ("", "tsl", "tsl.worker")]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    yield
    logging.captureWarnings(False)
    for logger, handlers, level in before:
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)


def settings(folder, *properties):
    """Log settings as somebody would write them."""
    text = "\n".join([f"log_location={folder}", *properties])
    return LogSettings.of(ServerConfig.load(text, {}, {}))


def record(level=logging.INFO, message="text %s", args=("x",), **extra):
    made = logging.LogRecord("tsl.frontend.server", level, "f", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_line_has_the_format_of_torchserve():
    line = TorchServeFormatter().format(record(msecs=7.9))

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,007 \[INFO \] main tsl\.frontend\.server - text x", line
    )


def test_a_line_of_a_worker_names_its_requests_in_front():
    made = record(message="text", args=(), request_id="a,b")
    made.name = "tsl.worker"

    assert TorchServeFormatter().format(made).endswith("MODEL_LOG - [a,b] text")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (logging.DEBUG, "[DEBUG]"),
        (logging.WARNING, "[WARN ]"),
        (logging.ERROR, "[ERROR]"),
        (logging.CRITICAL, "[FATAL]"),
    ],
)
def test_levels_have_the_names_of_torchserve(level, shown):
    assert shown in TorchServeFormatter().format(record(level))


def test_other_threads_keep_their_names():
    assert "] loop-1 tsl" in TorchServeFormatter().format(record(threadName="loop-1"))


def test_a_traceback_follows_its_line():
    try:
        raise KeyError("gone")
    except KeyError:
        made = record(exc_info=sys.exc_info())

    lines = TorchServeFormatter().format(made).splitlines()

    assert lines[1].startswith("Traceback")
    assert lines[-1] == "KeyError: 'gone'"


@pytest.mark.usefixtures("clean_logging")
def test_workers_are_logged_in_both_files_and_the_server_in_one(tmp_path, capsys):
    writer = configure_logging(settings(tmp_path / "logs"))

    logging.getLogger("tsl.frontend").info("from the server")
    logging.getLogger("tsl.worker").info("from a worker")
    writer.close()

    server_log = (tmp_path / "logs" / "ts_log.log").read_text()
    model_log = (tmp_path / "logs" / "model_log.log").read_text()
    console = capsys.readouterr().out
    assert all(word in server_log for word in ("from the server", "from a worker"))
    assert "from a worker" in model_log
    assert "from the server" not in model_log
    assert console == server_log


@pytest.mark.usefixtures("clean_logging")
def test_the_console_can_be_left_out(tmp_path, capsys):
    writer = configure_logging(settings(tmp_path, "log_console=false"))

    logging.getLogger("tsl.frontend").info("text")
    writer.close()

    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("clean_logging")
def test_an_unusable_log_folder_costs_the_files_and_one_warning(tmp_path, capsys):
    (tmp_path / "file").touch()

    writer = configure_logging(settings(tmp_path / "file" / "logs", "log_console=false"))
    logging.getLogger("tsl.frontend").info("still logged")
    writer.close()

    lines = capsys.readouterr().out.splitlines()
    assert "[WARN ]" in lines[0]
    assert "No log files" in lines[0]
    assert lines[1].endswith("still logged")


@pytest.mark.usefixtures("clean_logging")
def test_warnings_of_other_libraries_are_logged_but_not_their_chatter(tmp_path, capsys):
    writer = configure_logging(settings(tmp_path))

    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("asyncio").error("trouble")
    writer.close()

    console = capsys.readouterr().out
    assert "trouble" in console
    assert "chatter" not in console


@pytest.mark.usefixtures("clean_logging")
def test_a_console_that_takes_nothing_holds_nobody_up(tmp_path, monkeypatch):
    taken = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text):
            taken.wait(10)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Stuck())
    monkeypatch.setattr("tsl.cli.logs._QUEUED_RECORDS", 10)
    monkeypatch.setattr("tsl.cli.logs._CLOSE_S", 0.05)
    writer = configure_logging(settings(tmp_path))

    for number in range(100):
        logging.getLogger("tsl.frontend").info("line %d", number)
    taken.set()
    writer.close()

    assert "line 0" in (tmp_path / "ts_log.log").read_text()


@pytest.mark.usefixtures("clean_logging")
def test_lost_records_are_counted_in_the_log():
    records = queue.Queue(maxsize=1)
    handler = _DroppingHandler(records)
    made = [logging.makeLogRecord({"msg": f"record {n}"}) for n in range(4)]

    for each in made[:3]:
        handler.emit(each)
    first = records.get()
    records.maxsize = 5
    handler.emit(made[3])

    assert first.getMessage() == "record 0"
    assert records.get().getMessage().startswith("2 log records were dropped")
    assert records.get().getMessage() == "record 3"


# -- formats, levels and files


def test_what_a_worker_prints_carries_torchserves_name_for_it():
    made = record(name="tsl.worker", threadName="W-9000-m_1.0-stderr")
    made.name = "tsl.worker"

    assert TorchServeFormatter().format(made).endswith("W-9000-m_1.0-stderr MODEL_LOG - text x")


def test_json_has_every_field_in_one_line():
    try:
        raise KeyError("gone")
    except KeyError:
        made = record(logging.ERROR, exc_info=sys.exc_info(), request_id="r-1")

    line = JsonFormatter().format(made)
    fields = json.loads(line)

    assert "\n" not in line
    assert fields.pop("exception").endswith("KeyError: 'gone'")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", fields.pop("time"))
    assert fields == {
        "log": "server",
        "level": "ERROR",
        "thread": "main",
        "logger": "tsl.frontend.server",
        "message": "text x",
        "request_id": "r-1",
    }


@pytest.mark.usefixtures("clean_logging")
def test_both_writers_get_the_traceback_and_nobody_the_frames(tmp_path, capsys):
    writer = configure_logging(settings(tmp_path, "log_format=json"))

    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("tsl.frontend").exception("failed %s", "badly")
    writer.close()

    for text in ((tmp_path / "ts_log.log").read_text(), capsys.readouterr().out):
        fields = json.loads(text)
        assert fields["message"] == "failed badly"
        assert fields["exception"].startswith("Traceback")


@pytest.mark.usefixtures("clean_logging")
def test_levels_are_per_log_and_off_means_off(tmp_path, capsys):
    writer = configure_logging(settings(tmp_path, "log_levels=server=error, model=off"))

    logging.getLogger("tsl.frontend").warning("a warning")
    logging.getLogger("asyncio").warning("of a library")
    logging.getLogger("tsl.frontend").error("an error")
    logging.getLogger("tsl.worker").critical("from a worker")
    writer.close()

    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("an error")
    assert [path.name for path in tmp_path.iterdir()] == ["ts_log.log"]


@pytest.mark.usefixtures("clean_logging")
def test_the_console_can_have_some_logs_only(tmp_path, capsys):
    writer = configure_logging(settings(tmp_path, "log_console=model", "log_files=server=s.txt"))

    logging.getLogger("tsl.frontend").info("from the server")
    logging.getLogger("tsl.worker").info("from a worker")
    writer.close()

    assert capsys.readouterr().out.endswith("from a worker\n")
    assert "from the server" in (tmp_path / "s.txt").read_text()


def test_records_that_a_full_disk_cost_are_counted_when_there_is_room_again():
    class Full:
        error = OSError(28, "No space left on device")
        written = b""

        def write(self, data):
            if self.error:
                raise self.error
            self.written += data

    file = Full()
    handler = FileHandler(file)
    handler.emit(record())
    handler.emit(record())
    file.error = None
    handler.emit(record())

    first, second = file.written.decode().splitlines()
    assert first.endswith("2 log records are missing: the file could not be written")
    assert second.endswith("text x")
