"""Request ids: random UUIDs (version 4), a thousand at a time.

``uuid.uuid4`` costs a system call and an object for each one (2.5 µs). Here each id has 60 random
bits of its own, its last 62 are shared by a block; a slice of text is all that an id costs then
(``benchmarks/micro/request_ids.py``). They name requests and protect nothing.
"""

from __future__ import annotations

import os
from typing import Final

_BLOCK: Final = 1024
_OWN_DIGITS: Final = 15
_pool: list[str] = []


def new_request_id() -> str:
    """A fresh UUID4 in the usual form, 36 characters."""
    if not _pool:
        _refill()
    return _pool.pop()


def _refill() -> None:
    tail = os.urandom(8).hex()
    tail = f"-{'89ab'[int(tail[0], 16) & 3]}{tail[1:4]}-{tail[4:]}"
    d = os.urandom(_BLOCK * _OWN_DIGITS // 2).hex()
    _pool.extend(
        [
            f"{d[at : at + 8]}-{d[at + 8 : at + 12]}-4{d[at + 12 : at + 15]}{tail}"
            for at in range(0, len(d), _OWN_DIGITS)
        ]
    )
