"""The error tree: every class says what it is answered with, and survives the wire."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest

from tsl.protocol import errors, workflow_errors
from tsl.protocol.errors import (
    ConfigError,
    HandlerFailed,
    PredictionError,
    ProtocolError,
    QueueFull,
    TslError,
)

GRPC_NAMES = {
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
    "UNAUTHENTICATED",
}  # fmt: skip


def all_below(cls):
    for child in cls.__subclasses__():
        yield child
        yield from all_below(child)


MODULES = {module.__name__: module for module in (errors, workflow_errors)}
CLASSES = [cls for cls in all_below(TslError) if cls.__module__ in MODULES]
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def drawn_tree():
    """The trees of the module docstrings: name → (parent, status, standard status or None)."""
    line = re.compile(r"^( *)((?:│ +)?[├└]──) (\w+) +(?:(\d+)(?: \(standard (\d+)\))?|as .*)$")
    found, parent = {}, "TslError"
    for text in "".join(module.__doc__ for module in MODULES.values()).splitlines():
        match = line.match(text.removeprefix("    "))
        if match is None:
            continue
        _, branch, name, status, standard = match.groups()
        nested = not branch.startswith(("├", "└"))
        if not nested:
            parent = name
        above = parent if nested else "TslError"
        found[name] = (above, status and int(status), standard and int(standard))
    return found


def test_the_docstrings_draw_every_class_once():
    assert list(drawn_tree()) == [cls.__name__ for cls in in_source_order(CLASSES)]


def in_source_order(classes):
    drawn = list(drawn_tree())
    return sorted(
        classes, key=lambda cls: drawn.index(cls.__name__) if cls.__name__ in drawn else -1
    )


@every_class
def test_class_is_as_drawn(cls):
    parent, status, standard = drawn_tree()[cls.__name__]

    assert cls.__bases__[0].__name__ == parent
    if status is not None:
        assert cls.http_status == status
        assert cls().status() == status
        assert cls().status(standard=True) == (standard or status)


@every_class
def test_class_has_everything_an_answer_needs(cls):
    assert HTTPStatus(cls.http_status) if cls.http_status != 499 else True
    assert cls.grpc_status in GRPC_NAMES
    assert cls.type_name.endswith("Exception")
    assert cls.default_message
    assert cls.__doc__


def test_codes_are_unique_and_stable_words():
    codes = [cls.code for cls in CLASSES]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_a_code_cannot_be_used_twice():
    with pytest.raises(TypeError, match="'queue_full' is used twice"):
        type("Copy", (TslError,), {"code": "queue_full"})


def test_a_subclass_without_a_code_of_its_own_is_refused():
    with pytest.raises(TypeError, match="used twice"):
        type("Nameless", (QueueFull,), {})


# -- on the wire


@every_class
def test_class_survives_the_wire(cls):
    sent = cls("what happened")

    received = TslError.from_wire(sent.code, sent.message, sent.wire_status)

    assert type(received) is cls
    assert received.message == "what happened"
    assert received.status() == sent.status()


@every_class
def test_an_empty_message_becomes_the_default_one(cls):
    assert TslError.from_wire(cls.code, "").message == cls.default_message


@pytest.mark.parametrize("code", ["", "nope", "QueueFull", "queue_full "])
def test_an_unknown_code_is_a_protocol_error(code):
    with pytest.raises(ProtocolError, match="unknown error code"):
        TslError.from_wire(code, "m")


def test_the_status_in_a_frame_counts_for_prediction_errors_only():
    assert HandlerFailed.from_wire("handler_failed", "m", 404).status() == 503
    assert TslError.from_wire("prediction_error", "m", 404).status() == 404


# -- what a client reads


def test_text_is_message_and_hint():
    assert str(QueueFull("Full.", hint="Wait.")) == "Full. Wait."
    assert str(QueueFull("Full.")) == "Full."
    assert str(QueueFull()) == QueueFull.default_message


def test_config_error_reports_all_problems_and_is_no_answer():
    error = ConfigError("first", "second")

    assert error.problems == ("first", "second")
    assert str(error) == "first\nsecond"
    assert not isinstance(error, TslError)


# -- the handler's own status


@pytest.mark.parametrize("status", [200, 204, 399, 400, 418, 499, 500, 599])
def test_a_prediction_error_keeps_the_handlers_status(status):
    error = PredictionError("m", status)

    assert error.status() == error.status(standard=True) == error.wire_status == status


@pytest.mark.parametrize("status", [-1, 0, 1, 100, 199, 600, 10**12])
def test_a_status_http_does_not_have_becomes_500(status):
    assert PredictionError("m", status).status() == 500


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (418, "FAILED_PRECONDITION"),
        (499, "CANCELLED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (599, "INTERNAL"),
        (302, "INTERNAL"),
    ],
)
def test_a_prediction_error_has_the_grpc_status_of_its_http_status(status, name):
    assert PredictionError("m", status).grpc_name == name


def test_every_grpc_name_of_a_prediction_error_exists():
    assert set(PredictionError._GRPC_BY_STATUS.values()) <= GRPC_NAMES


# -- reason phrases
