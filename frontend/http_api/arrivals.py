"""What clients have sent in one turn of the event loop, until all of it has been read.

Each read is a system call, and behind a system call the processor has lost much of what it knew of
the interpreter's code. So the turn's data is first collected, and then looked at in one go; the
answers' writes are done together by the loop anyway (``docs/decisions.md``).
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


def _at_end_of_turn(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


class Arrivals:
    """Data of all connections of a listener, in the order in which it came.

    Args:
        call_soon: calls something when the event loop has read all that there is to read now.
    """

    __slots__ = ("_call_soon", "_items")

    def __init__(self, call_soon: Callable[[Callable[[], None]], None] = _at_end_of_turn) -> None:
        self._call_soon = call_soon
        self._items: list[tuple[Receiver, bytes]] = []

    def add(self, receiver: Receiver, data: bytes) -> None:
        """Note what has arrived."""
        items = self._items
        items.append((receiver, data))
        if len(items) == 1:
            self._call_soon(self.deliver)

    def deliver(self) -> None:
        """Hand on all that was noted; to be called also before a connection's end is told to it."""
        items, self._items = self._items, []
        for receiver, data in items:
            try:
                receiver.process(data)
            except Exception:  # a bug must cost one connection, as it would by itself
                logger.exception("%r: internal error", receiver)
                receiver.abort()
