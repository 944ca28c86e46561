"""Reading large bodies into their place.

A transport reads into memory of its own and hands out copies, which somebody has to join. While a
large body arrives, it can read into the body itself instead. For that it needs a protocol of
another kind: `read_directly` puts one in the place of the usual protocol until the body is
complete. What lies behind the body stays in the socket until then.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

DIRECT_BYTES: Final = 64 * 1024
"""Fewer bytes are not worth the change of protocols."""


class DirectReader(Protocol):
    """A protocol that knows where a large body belongs."""

    def direct_room(self) -> memoryview:
        """Where the next bytes go; not empty."""

    def direct_filled(self, size: int) -> bool:
        """So many bytes have come; answers whether there is room for more."""

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""


class _Direct(asyncio.BufferedProtocol):
    """Stands in for a protocol while a large body arrives."""

    def __init__(self, transport: asyncio.Transport, protocol: DirectReader) -> None:
        self._transport = transport
        self._protocol = protocol

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._protocol.direct_room()

    def buffer_updated(self, nbytes: int) -> None:
        if not self._protocol.direct_filled(nbytes):
            self._transport.set_protocol(self._protocol)  # type: ignore[arg-type]

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def read_directly(transport: asyncio.Transport, protocol: DirectReader) -> None:
    """Have a transport fill its protocol's memory until there is no more room.

    Args:
        transport: of a connection that is open.
        protocol: its own protocol, which has room.
    """
    transport.set_protocol(_Direct(transport, protocol))
