"""Back-pressure of one client connection: the only owner of pausing and resuming.

Two directions. *Reading* is paused while too many pipelined requests wait. *Writing*: when a
client does not take what is sent, whoever produces it (a stream's worker channel) is paused
until the client has caught up.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol


class Producer(Protocol):
    """Whatever fills the connection; `WorkerChannel` is one."""

    def pause_reading(self) -> None:
        """Produce no more for now."""

    def resume_reading(self) -> None:
        """Go on."""


class FlowControl:
    """Pausing and resuming for one transport.

    Args:
        transport: what the connection writes to.
        below: with TLS, the transport that carries it: it has a buffer of its own.
    """

    __slots__ = ("_below", "_is_reading", "_producer", "_transport", "_unsent_bytes", "is_writable")

    def __init__(
        self, transport: asyncio.Transport, below: asyncio.WriteTransport | None = None
    ) -> None:
        self._transport = transport
        self._below = below
        self._is_reading = True
        self._producer: Producer | None = None
        self._unsent_bytes: float = math.inf
        self.is_writable = True

    def pause_reading(self) -> None:
        """Take no more requests."""
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take requests again."""
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The client is slower than we are."""
        self.is_writable = False
        self._unsent_bytes = self._size()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_writable = True
        self._unsent_bytes = math.inf
        self.release()

    def has_unsent(self) -> bool:
        """Whether the client has not taken all that was sent to it."""
        return self._size() > 0

    def has_progressed(self) -> bool:
        """Whether the client has taken anything since this was asked last, or since the pause."""
        before, self._unsent_bytes = self._unsent_bytes, self._size()
        return self._unsent_bytes < before

    def _size(self) -> int:
        size = self._transport.get_write_buffer_size()
        return size if self._below is None else size + self._below.get_write_buffer_size()

    def hold(self, producer: Producer) -> None:
        """Pause a producer until the client has caught up; once is enough."""
        if self._producer is None:
            self._producer = producer
            producer.pause_reading()

    def release(self) -> None:
        """Let a held producer go on: the client caught up, or left."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.resume_reading()
