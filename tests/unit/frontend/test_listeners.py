"""Addresses that cannot be taken; sockets are opened in the end-to-end tests."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from tsl.frontend import listeners
from tsl.frontend.addresses import Address
from tsl.frontend.listeners import Listener
from tsl.protocol.errors import ConfigError

TCP = Address(scheme="http", host="127.0.0.1", port=8080)


class FakeSocket:
    """A socket whose `bind` does what the test says."""

    def __init__(self, failure=None, port=8080):
        self.failure = failure
        self.port = port
        self.is_closed = False

    def setsockopt(self, *arguments):
        """Accepted."""

    def bind(self, where):
        if self.failure is not None:
            raise self.failure

    def listen(self, backlog):
        """Accepted."""

    def getsockname(self):
        return ("127.0.0.1", self.port)

    def close(self):
        self.is_closed = True


@pytest.fixture
def fake_socket(monkeypatch):
    def use(**arguments):
        fake = FakeSocket(**arguments)
        names = vars(listeners.socket)
        replacement = SimpleNamespace(**{**names, "socket": lambda *kinds: fake})
        monkeypatch.setattr(listeners, "socket", replacement)
        return fake

    return use


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), "is in use by another process"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied."),
        (OSError("AF_UNIX path too long"), "AF_UNIX path too long."),
    ],
)
def test_an_address_that_cannot_be_taken_is_explained(fake_socket, failure, message):
    fake = fake_socket(failure=failure)

    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:8080") as caught:
        Listener(TCP, None).bind()

    assert message in str(caught.value)
    assert fake.is_closed


def test_a_unix_socket_that_cannot_be_bound_is_closed(fake_socket, tmp_path):
    fake = fake_socket(failure=PermissionError(errno.EACCES, "Permission denied"))
    address = Address(scheme="unix", unix_path=str(tmp_path / "s"))

    with pytest.raises(ConfigError):
        Listener(address, None).bind()

    assert fake.is_closed


def test_the_systems_choice_of_a_port_becomes_the_address(fake_socket):
    fake_socket(port=40123)
    listener = Listener(Address(scheme="http", host="127.0.0.1", port=0), None)

    listener.bind()

    assert listener.address.port == 40123


def test_closing_before_opening_gives_the_address_back_and_twice_is_once(fake_socket):
    fake = fake_socket()
    listener = Listener(TCP, None)
    listener.bind()

    listener.close()
    listener.close()

    assert fake.is_closed


def test_a_file_that_is_no_socket_is_not_removed(tmp_path):
    path = tmp_path / "data"
    path.write_text("mine")

    listeners._remove_stale(str(path))
    listeners._remove_stale(str(tmp_path / "nothing"))

    assert path.read_text() == "mine"
