"""The requests that commands make to a running server's public API."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 5.0


class NoAnswer(Exception):
    """The server did not answer, or not with JSON; the text says what happened."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ApiClient:
    """One API of a server on this machine.

    Proxies of the environment are not used: the server is here.

    Args:
        address: ``http://host:port``, ``https://host:port`` or ``unix:/path``.
        key: the key to show, if tokens are on.
        timeout_s: seconds to wait for each answer.
    """

    def __init__(self, address: str, key: str | None, timeout_s: float = _TIMEOUT_S) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s = timeout_s

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of ``GET path``.

        Raises:
            NoAnswer: nobody answers, or not in JSON.
        """
        return self.call("GET", path)

    def call(self, method: str, path: str, *, is_long: bool = False) -> tuple[int, Any]:
        """Status and JSON of a request without a body.

        Args:
            method: of the request.
            path: with its query.
            is_long: wait as long as the server needs: it has its own limits for loading a model.

        Raises:
            NoAnswer: nobody answers, or not in JSON.
        """
        status, content = self._exchange(method, path, None if is_long else self._timeout_s)
        try:
            return status, json.loads(content)
        except ValueError as error:
            msg = f"{self._address}{path} answers something that is not JSON"
            raise NoAnswer(msg) from error

    def text(self, path: str) -> tuple[int, str]:
        """Status and text of ``GET path``.

        Raises:
            NoAnswer: nobody answers.
        """
        status, content = self._exchange("GET", path, self._timeout_s)
        return status, content.decode("utf-8", errors="replace")

    def _exchange(self, method: str, path: str, timeout_s: float | None) -> tuple[int, bytes]:
        connection = self._connection()
        connection.timeout = timeout_s
        try:
            connection.request(method, path, headers=self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            msg = f"{self._address} does not answer: {error or type(error).__name__}"
            raise NoAnswer(msg) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._address.startswith("unix:"):
            return _UnixConnection(self._address.removeprefix("unix:"), self._timeout_s)
        parts = urlsplit(self._address)
        host = parts.hostname or "127.0.0.1"
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                host, parts.port, timeout=self._timeout_s, context=_same_host()
            )
        return http.client.HTTPConnection(host, parts.port, timeout=self._timeout_s)


def _same_host() -> ssl.SSLContext:
    """TLS to a server on this machine, which the pid file has shown to live.

    Its certificate is for its clients' name of it, seldom for this address, and nobody but that
    process can be listening there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
