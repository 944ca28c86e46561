"""The order of answers on a stream: that of the requests, except that a stream lets others pass.

As with Triton. Requests are worked on at the same time, so answers are ready in any order; an
answer that is one message waits for those before it. A request that is answered by a stream of its
own may take as long as it likes, and nobody knows for how long: it holds up nobody, and its pieces
leave as they come.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turn:
    """The place of one request; `leave` it, whatever happens."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.has_come = asyncio.Event()
        self.has_left = False

    async def come(self) -> None:
        """Wait until nobody is before it."""
        await self.has_come.wait()

    def leave(self) -> None:
        """Let the next one have its turn; more than once is no harm."""
        self.has_left = True
        self._turns.advance()


class Turns:
    """All requests of a stream that have not been answered, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Turn] = deque()

    def take(self) -> Turn:
        """A place behind all others."""
        turn = Turn(self)
        self._waiting.append(turn)
        self.advance()
        return turn

    def advance(self) -> None:
        """Drop those who have left, and tell the first of the others."""
        while self._waiting and self._waiting[0].has_left:
            self._waiting.popleft()
        if self._waiting:
            self._waiting[0].has_come.set()
