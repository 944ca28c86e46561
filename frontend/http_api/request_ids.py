"""Request ids: random UUIDs (version 4), a thousand at a time.

``uuid.uuid4`` costs a system call and an object for each one (2.5 µs); slices of a block of random
bytes cost a quarter of that (``benchmarks/micro/request_ids.py``).
"""

from __future__ import annotations

import os
from typing import Final

_BLOCK: Final = 1024
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_pool: list[str] = []


def new_request_id() -> str:
    """A fresh UUID4 in the usual form, 36 characters."""
    if not _pool:
        _refill()
    return _pool.pop()


def _refill() -> None:
    digits = os.urandom(16 * _BLOCK).hex()
    for at in range(0, len(digits), 32):
        d = digits[at : at + 32]
        _pool.append(f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{_VARIANTS[d[16]]}{d[17:20]}-{d[20:]}")
