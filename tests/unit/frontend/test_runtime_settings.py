"""Tests for tsl.frontend.runtime_settings."""

import logging

import pytest

from tsl.frontend.registry import ModelRegistry
from tsl.frontend.runtime_settings import LogControl, TraceControl
from tsl.protocol.errors import InvalidRequest, ModelNotFound, Unsupported

INFO = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


class Kept(logging.Handler):
    """Keeps what would be written."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.fixture
def loggers():
    """A tree of its own: root, the server's logger, and the one of workers."""
    root = logging.RootLogger(logging.WARNING)
    manager = logging.Manager(root)
    root.manager = manager
    server, worker = manager.getLogger("tsl"), manager.getLogger("tsl.worker")
    server.setLevel(logging.INFO)
    worker.setLevel(logging.INFO)
    root.addHandler(Kept())
    return root, server, worker


def written(loggers):
    root, _, worker = loggers
    (handler,) = root.handlers
    handler.texts.clear()
    part = root.manager.getLogger("tsl.frontend.part")
    for level in ("debug", "info", "warning", "error"):
        getattr(part, level)(level)
    worker.info("worker")
    root.manager.getLogger("library").warning("library")
    return handler.texts


def test_the_settings_are_those_of_the_log(loggers):
    root, server, _ = loggers
    control = LogControl(root, server)

    assert control.settings() == INFO
    server.setLevel(logging.ERROR)
    assert control.settings() == {**INFO, "log_info": False, "log_warning": False}
    server.setLevel(logging.DEBUG)
    assert control.settings() == {**INFO, "log_verbose_level": 1}


@pytest.mark.parametrize(
    ("wanted", "levels"),
    [
        ({"log_verbose_level": 3}, ["debug", "info", "warning", "error"]),
        ({"log_info": False}, ["warning", "error"]),
        ({"log_warning": False}, ["info", "error"]),
        ({"log_info": False, "log_verbose_level": 1}, ["debug", "warning", "error"]),
        ({"log_info": False, "log_warning": False, "log_error": False}, []),
        ({"log_error": False}, ["info", "warning"]),
    ],
)
def test_switches_decide_what_of_the_server_is_written(loggers, wanted, levels):
    root, server, _ = loggers
    control = LogControl(root, server)

    assert control.update(wanted) == {**INFO, **wanted}

    assert written(loggers) == [*levels, "worker", "library"]


def test_a_later_change_keeps_the_earlier_ones(loggers):
    control = LogControl(*loggers[:2])
    control.update({"log_info": False})
    control.update({"log_verbose_level": 2})

    assert control.update({"log_verbose_level": 0}) == {**INFO, "log_info": False}
    assert written(loggers) == ["warning", "error", "worker", "library"]


def test_fixed_settings_may_be_sent_as_they_are(loggers):
    assert LogControl(*loggers[:2]).update({"log_file": "", "log_format": "default"}) == INFO


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("log_file", "/tmp/log", Unsupported),
        ("log_format", "ISO8601", Unsupported),
        ("log_info", 1, InvalidRequest),
        ("log_info", None, InvalidRequest),
        ("log_verbose_level", True, InvalidRequest),
        ("log_verbose_level", -1, InvalidRequest),
        ("log_colour", "red", InvalidRequest),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(loggers, name, value, error):
    control = LogControl(*loggers[:2])

    with pytest.raises(error, match=name):
        control.update({"log_error": False, name: value})

    assert control.settings() == INFO


def test_traces_are_off_and_stay_so():
    control = TraceControl(ModelRegistry())

    kept = control.update({"trace_level": ["OFF"], "trace_rate": 1000, "log_frequency": None})

    assert kept["trace_level"] == ("OFF",)
    for name, value in (("trace_level", ["TIMESTAMPS"]), ("trace_rate", "1"), ("trace_file", "f")):
        with pytest.raises(Unsupported, match=name):
            control.update({name: value})
    with pytest.raises(InvalidRequest, match="trace_colour"):
        control.update({"trace_colour": "red"})


def test_traces_of_an_unknown_model_are_not_found():
    control = TraceControl(ModelRegistry())

    for call in (lambda: control.settings("m"), lambda: control.update({}, "m")):
        with pytest.raises(ModelNotFound):
            call()
