"""Shared memory of the Open Inference Protocol, as front end and workers speak of it.

A client registers a region, which is a piece of an object in ``/dev/shm``, by name. The front end
opens it once and keeps the descriptor. A request that names regions takes along a table of them,
in a property of its row: there no client can put anything. The worker opens the descriptor of the
front end through ``/proc``, so it gets the very object that was registered, whatever has become of
its name since; device and inode number tell a descriptor that has been closed and used again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

REGIONS: Final = "shared_memory_regions"
"""Property of a row that names regions: what `pack` makes."""
REGION: Final = "shared_memory_region"
"""Parameter of a tensor: the region its values are in, or go to."""
OFFSET: Final = "shared_memory_offset"
"""Parameter of a tensor: where they begin in the region, in bytes."""
BYTE_SIZE: Final = "shared_memory_byte_size"
"""Parameter of a tensor: how many bytes are theirs."""
PARAMETERS: Final = (REGION, OFFSET, BYTE_SIZE)


class RegionRef(NamedTuple):
    """A region of a table.

    Attributes:
        fd: descriptor of the front end.
        device: of the object.
        inode: of the object.
        offset: where the region begins in the object, in bytes.
        size: of the region, in bytes.
    """

    fd: int
    device: int
    inode: int
    offset: int
    size: int


class RegionTable(NamedTuple):
    """The regions that a request names.

    Attributes:
        pid: of the front end.
        max_bytes: what its inputs may read from regions, in all.
        takes_outputs: whether the worker puts outputs there; a handler that makes its answers
            itself would not.
        regions: those that are registered, by name.
    """

    pid: int
    max_bytes: int
    takes_outputs: bool
    regions: Mapping[str, RegionRef]


def pack(table: RegionTable) -> str:
    """A table as the value of a property."""
    return json.dumps(table, separators=(",", ":"))


def unpack(text: str) -> RegionTable:
    """The table that `pack` made a text of."""
    pid, max_bytes, takes_outputs, regions = json.loads(text)
    refs = {name: RegionRef(*ref) for name, ref in regions.items()}
    return RegionTable(pid, max_bytes, takes_outputs, refs)
