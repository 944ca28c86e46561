"""Open sockets for the addresses of the configuration, and what is served on each.

Inference and management may share one address; then their routes are one table, and the metrics
are served there, too.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tsl.protocol.errors import ConfigError

from .addresses import Address
from .http_api.connection import HttpConnection
from .http_api.context import HttpContext
from .tls_listener import TlsAcceptor

BACKLOG: Final = 2048


class Listener:
    """One listening address.

    Args:
        address: where; port 0 lets the system choose.
        context: what its connections share.
        tls: for an ``https`` address.
    """

    def __init__(
        self, address: Address, context: HttpContext, tls: ssl.SSLContext | None = None
    ) -> None:
        self.address = address
        self.context = context
        self._tls = tls
        self._acceptor: TlsAcceptor | None = None
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None

    def bind(self) -> None:
        """Take the address; clients that connect wait until `open`.

        Raises:
            ConfigError: it is taken, or not ours.
        """
        try:
            self._socket = bound_socket(self.address)
        except OSError as error:
            raise ConfigError(_explain(self.address, error)) from error
        if self.address.scheme != "unix":
            self.address = replace(self.address, port=self._socket.getsockname()[1])

    async def open(self) -> None:
        """Let clients in."""
        assert self._socket is not None
        factory: Callable[[], HttpConnection] = lambda: HttpConnection(self.context)  # noqa: E731
        loop = asyncio.get_running_loop()
        if self._tls is not None:
            standard = self.context.standard_status_codes
            self._acceptor = TlsAcceptor(
                self._socket, self._tls, factory, standard_status_codes=standard
            )
        elif self.address.scheme == "unix":
            self._server = await loop.create_unix_server(
                factory, sock=self._socket, backlog=BACKLOG
            )
        else:
            self._server = await loop.create_server(factory, sock=self._socket, backlog=BACKLOG)

    def close(self) -> None:
        """Refuse new connections; existing ones go on."""
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        elif self._server is not None:
            self._server.close()
            self._server = None
        elif self._socket is not None:
            self._socket.close()
        if self._socket is not None and self.address.scheme == "unix":
            Path(self.address.unix_path).unlink(missing_ok=True)
        self._socket = None


def bound_socket(address: Address) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        OSError: the address is taken, or not ours.
    """
    where: Any
    if address.scheme == "unix":
        _remove_stale(address.unix_path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        where = address.unix_path
    else:
        family, kind, proto, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(where)
        # Listening from now on makes the address ours alone; who connects before `open` waits.
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on any more."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - text path, one call
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def _explain(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"The address {address.url} is in use by another process. "
            "Stop that one, or choose another address."
        )
    return f"Cannot listen on {address.url}: {error.strerror or error}."
