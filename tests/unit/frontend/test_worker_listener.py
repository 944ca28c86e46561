"""Who may connect as a worker; the socket itself belongs to the end-to-end tests."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from tsl.frontend.worker_listener import new_token
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import PROTOCOL_VERSION, Hello


@pytest.fixture
def expected(listener):
    """A worker that is to connect."""
    worker = SimpleNamespace(
        worker_id="w#1", token="secret", on_greeted=lambda channel, hello: ("load", 1000)
    )
    listener.expect(worker)
    return worker


def hello(**changes):
    return Hello(PROTOCOL_VERSION, "w#1", "secret", 42)._replace(**changes)


def test_an_expected_worker_gets_what_it_is_to_load(listener, expected):
    assert listener._claim(None, hello()) == (expected, "load", 1000)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": PROTOCOL_VERSION + 1},
        {"worker_id": "w#2"},
        {"worker_id": ""},
        {"token": ""},
        {"token": "secret "},
        {"token": "sécret"},
    ],
    ids=str,
)
def test_nobody_else_does(listener, expected, changes):
    with pytest.raises(ProtocolError):
        listener._claim(None, hello(**changes))

    assert listener._claim(None, hello()), "the real one still may"


def test_a_worker_connects_once(listener, expected):
    listener._claim(None, hello())

    with pytest.raises(ProtocolError):
        listener._claim(None, hello())


def test_a_worker_that_is_not_expected_any_more_is_refused(listener, expected):
    listener.forget(expected)
    listener.forget(expected)

    with pytest.raises(ProtocolError):
        listener._claim(None, hello())


def test_another_version_of_the_protocol_is_named(listener, expected):
    with pytest.raises(ProtocolError, match=f"protocol 99, this server {PROTOCOL_VERSION}"):
        listener._claim(None, hello(version=99))


def test_tokens_are_long_and_new_each_time():
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)


def test_closing_what_was_never_opened_is_no_error(world, listener):
    world.run(listener.close())
