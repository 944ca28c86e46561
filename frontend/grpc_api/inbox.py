"""What a client streams, on its way to the servicer that iterates over it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from google.protobuf.message import Message

FULL_BYTES: Final = 256 * 1024
"""With more than this waiting, the client has to wait, too."""


class Inbox:
    """The messages of a stream of the client, for the one who iterates over them.

    Args:
        more: called when so many were taken that the client may go on.
    """

    __slots__ = ("_has_news", "_is_closed", "_messages", "_more", "_waiting_bytes")

    def __init__(self, more: Callable[[], None]) -> None:
        self._more = more
        self._messages: deque[tuple[Message, int]] = deque()
        self._waiting_bytes = 0
        self._has_news = asyncio.Event()
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether the client should wait."""
        return self._waiting_bytes > FULL_BYTES

    def put(self, message: Message, size: int) -> None:
        """A message has arrived."""
        self._messages.append((message, size))
        self._waiting_bytes += size
        self._has_news.set()

    def close(self) -> None:
        """There are no more messages."""
        self._is_closed = True
        self._has_news.set()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if self._is_closed:
                raise StopAsyncIteration
            self._has_news.clear()
            await self._has_news.wait()
        message, size = self._messages.popleft()
        was_full = self.is_full
        self._waiting_bytes -= size
        if was_full and not self.is_full:
            self._more()
        return message
