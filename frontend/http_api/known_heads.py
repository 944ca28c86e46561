"""Heads of requests that have been read before, and need not be read again.

Clients repeat themselves: most requests of a listener begin with bytes that another one began
with. What those bytes say is decided once, and so is what was made of it on the way (`RequestHead`):
its route, its key, its model. The table is shared by the connections of a listener, because all of
this is the same for each of them.
"""

from __future__ import annotations

from typing import Final

from .messages import RequestHead

MAX_HEAD_BYTES: Final = 1024
"""Longer heads are not remembered."""
MAX_HEADS: Final = 1024
"""With these two the table is bounded to a few megabytes, whatever clients send."""
HEAD_END: Final = b"\r\n\r\n"


class KnownHeads:
    """Heads by their bytes; forgets all when it is full, and begins anew."""

    __slots__ = ("_heads", "get")

    def __init__(self) -> None:
        self._heads: dict[bytes, RequestHead] = {}
        self.get = self._heads.get
        """The head that these bytes are, up to and with the empty line; None for a new one."""

    def __len__(self) -> int:
        return len(self._heads)

    def add(self, data: bytes, head: RequestHead) -> None:
        """Remember a head.

        Args:
            data: its bytes.
            head: what they say.
        """
        if len(data) > MAX_HEAD_BYTES:
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        self._heads[data] = head
