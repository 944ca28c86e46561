"""A lock for each name: operations on one name are in order, others do not wait."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class NameLocks:
    """Locks that exist as long as somebody holds them or waits."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """The lock of a name."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock
