"""One turn of the event loop: read everything, then handle it, then write what came of it.

Each read and write is a system call, and behind a system call the processor has lost much of what it
knew of the interpreter's code. So what clients send in a turn is first collected, and then looked at
in one go; and while something is being handled, small writes are held until all of it is
(``docs/decisions.md``). Nothing waits for anything that is not there yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class Receiver(Protocol):
    """A connection."""

    def process(self, data: bytes) -> None:
        """Take what has arrived."""

    def abort(self) -> None:
        """Drop the connection."""


class Transport(Protocol):
    """What `LoopTurn` needs of a transport."""

    def write(self, data: bytes) -> None:
        """See `asyncio.WriteTransport`."""

    def abort(self) -> None:
        """See `asyncio.WriteTransport`."""


def _at_end_of_turn(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


class LoopTurn:
    """What was read and not handled, and what is to be written; one for all connections of a loop.

    Whoever handles something does so between `begin` and `end`; `handle` does both.

    Args:
        call_soon: calls something when the event loop has read all that there is to read now.
    """

    __slots__ = ("_at_end", "_call_soon", "_depth", "_holds_writes", "_unhandled", "_unwritten")

    def __init__(self, call_soon: Callable[[Callable[[], None]], None] = _at_end_of_turn) -> None:
        self._call_soon = call_soon
        self._unhandled: list[tuple[Receiver, bytes]] = []
        self._at_end: list[Callable[[], None]] = []
        self._unwritten: list[tuple[Transport, bytes]] = []
        self._depth = 0
        self._holds_writes = False

    # Reading...

    def add(self, receiver: Receiver, data: bytes) -> None:
        """Note what has arrived; it is handled when the loop has read all there is."""
        unhandled = self._unhandled
        unhandled.append((receiver, data))
        if len(unhandled) == 1:
            self._call_soon(self.handle)

    # ...handling...

    def handle(self) -> None:
        """Hand on all that was noted; to be called also before a connection's end is told to it."""
        unhandled, self._unhandled = self._unhandled, []
        if not unhandled:
            return
        self.begin(holds_writes=len(unhandled) > 1)
        for receiver, data in unhandled:
            try:
                receiver.process(data)
            except Exception:  # a bug must cost one connection, as it would by itself
                logger.exception("%r: internal error", receiver)
                receiver.abort()
        self.end()

    def begin(self, *, holds_writes: bool = True) -> None:
        """Something is going to be handled; `end` has to follow.

        Args:
            holds_writes: whether there will be several answers. One alone is better written at
                once: what is still to be done behind it need not hold it up.
        """
        self._depth += 1
        if holds_writes:
            self._holds_writes = True

    def end(self) -> None:
        """All of it is handled: do what was to be done then, and write what was held."""
        if self._depth > 1:
            self._depth -= 1
            return
        try:
            while self._at_end:
                callbacks, self._at_end = self._at_end, []
                for callback in callbacks:
                    callback()
        finally:
            self._depth = 0
            self._holds_writes = False
            self.flush()

    # ...and writing.

    def call_at_end(self, callback: Callable[[], None]) -> None:
        """Call something when all that is being handled now is, before the held writes leave."""
        if not self._depth and not self._at_end:
            self._call_soon(self._end_alone)
        self._at_end.append(callback)

    def _end_alone(self) -> None:
        self.begin(holds_writes=False)
        self.end()

    def write(self, transport: Transport, data: bytes) -> None:
        """Write to a transport, or hold it until all that is being handled now is.

        Whoever writes to the transport in another way, or closes it, has to `flush` before.
        """
        if self._holds_writes:
            self._unwritten.append((transport, data))
        else:
            transport.write(data)

    def flush(self) -> None:
        """Write what is held: once to each transport, in the order of its pieces."""
        unwritten = self._unwritten
        if not unwritten:
            return
        self._unwritten = []
        held: dict[Transport, list[bytes]] = {}
        for transport, data in unwritten:
            pieces = held.get(transport)
            if pieces is None:
                held[transport] = [data]
            else:
                pieces.append(data)  # another stream of HTTP/2
        for transport, pieces in held.items():
            try:
                transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            except Exception:  # as above
                logger.exception("%r: internal error", transport)
                transport.abort()
