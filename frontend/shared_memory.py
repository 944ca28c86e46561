"""System shared memory: the regions that clients have registered.

A region is a piece of an object in ``/dev/shm``. It is opened when it is registered, and the
descriptor is kept; the values are read and written by workers (`tsl.protocol.shared_memory`).
Nothing is mapped here, and nothing is read.

Who may register may read and write, through a model, every object in ``/dev/shm`` that this server's
user may. So it is off until an operator asks for it, and then for clients on this machine only,
unless they ask for more; and the object must be the server's own user's, or everybody's.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from tsl.protocol.errors import Conflict, Forbidden, InvalidRequest, ResourceNotFound
from tsl.protocol.shared_memory import REGION, REGIONS, RegionRef, RegionTable, pack

FOLDER: Final = "/dev/shm"  # noqa: S108  # where the system has shared memory
MAX_REGIONS: Final = 1024
"""Each costs a descriptor."""
MAX_NAME: Final = 255
NO_CUDA: Final = "There is no CUDA shared memory here; system shared memory there is."
MARK: Final = b'"%b"' % REGION.encode()
"""What a JSON document contains if it names a region."""

_NAMED: Final = re.compile(MARK + rb'\s*:\s*("(?:[^"\\]|\\.){0,2000}")')
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_EVERYBODY: Final = stat.S_IROTH | stat.S_IWOTH
_OFF, _LOOPBACK = "off", "loopback"


class Region:
    """A registered region; its descriptor is closed when nobody refers to it any more.

    Args:
        key: name of the object in ``/dev/shm``.
        ref: what a worker needs to find it.
    """

    __slots__ = ("key", "ref")

    def __init__(self, key: str, ref: RegionRef) -> None:
        self.key = key
        self.ref = ref

    def __del__(self) -> None:
        os.close(self.ref.fd)


class Attached(NamedTuple):
    """What makes a row one that uses regions.

    Attributes:
        properties: to be added to the row's.
        regions: to be kept until the row has been answered, so that they outlive it.
    """

    properties: list[str]
    regions: list[Region]


class SharedMemory:
    """The registered regions by name.

    Args:
        mode: ``off``, ``loopback`` (for clients on this machine) or ``any``.
        max_bytes: of all regions together, and of what one request may read.
        max_inline_bytes: of what one request may read for a model that takes JSON, whose lists
            need much more memory than the bytes.
        has_envelope: whether an envelope of this protocol makes the answers of such models.
    """

    def __init__(
        self,
        mode: str = _OFF,
        max_bytes: int = 0,
        *,
        max_inline_bytes: int = 0,
        has_envelope: bool = False,
    ) -> None:
        self._mode = mode
        self._max_bytes = max_bytes
        self._max_inline_bytes = min(max_inline_bytes, max_bytes)
        self._has_envelope = has_envelope
        self._regions: dict[str, Region] = {}

    @property
    def is_on(self) -> bool:
        """Whether regions can be registered."""
        return self._mode != _OFF

    def check(self, peer: str) -> None:
        """Whether a client may use shared memory.

        Args:
            peer: its address, as the access log or gRPC has it.

        Raises:
            Forbidden: it may not.
        """
        if self._mode == _OFF:
            raise Forbidden(
                "Shared memory is switched off.", hint="The setting shared_memory switches it on."
            )
        if self._mode == _LOOPBACK and not _is_local(peer):
            raise Forbidden(
                "Shared memory is for clients on the machine of the server.",
                hint="The setting shared_memory=any lifts this.",
            )

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Open a piece of an object, under a name.

        Args:
            name: of the region.
            key: of the object, as `shm_open` takes it: with or without a slash before it.
            offset: where the region begins, in bytes.
            byte_size: of the region.

        Raises:
            Conflict: there is a region of this name.
            InvalidRequest: an argument is not valid, or there is no such object, or too little
                of it, or it is somebody else's.
        """
        if not name or len(name) > MAX_NAME:
            raise InvalidRequest(f"The name of a region must have 1 to {MAX_NAME} characters.")
        if name in self._regions:
            raise Conflict(
                f"There is a shared memory region {name!r} already.", hint="Unregister it first."
            )
        if offset < 0 or byte_size < 1:
            raise InvalidRequest(
                f"Region {name!r}: offset must be a number from 0 up, byte_size one from 1 up."
            )
        if len(self._regions) >= MAX_REGIONS:
            raise InvalidRequest(f"There are {MAX_REGIONS} regions, and no more can be registered.")
        left = self._max_bytes - sum(each.ref.size for each in self._regions.values())
        if byte_size > left:
            raise InvalidRequest(
                f"Region {name!r} has {byte_size} bytes, but only {left} more can be registered.",
                hint="The setting max_shared_memory_size is the limit for all regions.",
            )
        self._regions[name] = _open(name, key, offset, byte_size)

    def unregister(self, name: str = "") -> None:
        """Forget a region, or all of them; requests that use it keep it until they are answered."""
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def status(self, name: str = "") -> list[dict[str, Any]]:
        """The regions.

        Args:
            name: of one of them; "" for all.

        Raises:
            ResourceNotFound: there is none of this name.
        """
        if name and name not in self._regions:
            raise ResourceNotFound(f"There is no shared memory region {name!r}.")
        return [
            {"name": each, "key": region.key, "offset": region.ref[3], "byte_size": region.ref[4]}
            for each, region in self._regions.items()
            if not name or each == name
        ]

    def attach(self, names: Iterable[str], peer: str, *, takes_tensors: bool) -> Attached:
        """The regions for a row.

        Args:
            names: that the request mentions; what is not registered is for the worker to refuse.
            peer: the client.
            takes_tensors: whether the model takes tensors (``inputFormat``), or JSON.

        Raises:
            Forbidden: the client may not use them.
        """
        found = {name: self._regions[name] for name in names if name in self._regions}
        if found:
            self.check(peer)
        table = RegionTable(
            os.getpid(),
            self._max_bytes if takes_tensors else self._max_inline_bytes,
            takes_tensors or self._has_envelope,
            {name: region.ref for name, region in found.items()},
        )
        return Attached([REGIONS, pack(table)], [*found.values()])


def names_in(document: bytes | bytearray) -> list[str]:
    """The regions that a JSON document mentions, without parsing it.

    A worker does that; what this finds too much has no effect, and what it does not find, because
    it is written in an odd way, is answered as not registered.

    Args:
        document: JSON.
    """
    names = []
    for match in _NAMED.finditer(document):
        try:
            names.append(json.loads(match[1]))
        except ValueError:
            continue
    return names


def _open(name: str, key: str, offset: int, byte_size: int) -> Region:
    plain = key.lstrip("/")
    if "/" in plain or "\0" in plain or plain in ("", ".", "..") or plain.startswith("sem."):
        raise InvalidRequest(
            f"The key {key!r} of region {name!r} is not the name of a shared memory object."
        )
    try:
        fd = os.open(f"{FOLDER}/{plain}", _FLAGS)
    except (OSError, ValueError) as error:  # the latter for text that is no file name
        raise InvalidRequest(
            f"Region {name!r}: the shared memory object {key!r} cannot be opened.",
            hint="It must exist, and this server's user must be able to read and write it.",
        ) from error
    try:
        about = os.fstat(fd)
        _check(about, name, key, offset, byte_size)
    except BaseException:
        os.close(fd)
        raise
    return Region(key, RegionRef(fd, about.st_dev, about.st_ino, offset, byte_size))


def _check(about: os.stat_result, name: str, key: str, offset: int, byte_size: int) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise InvalidRequest(f"Region {name!r}: {key!r} is no shared memory object.")
    if about.st_uid != os.geteuid() and about.st_mode & _EVERYBODY != _EVERYBODY:
        raise InvalidRequest(
            f"Region {name!r}: the shared memory object {key!r} belongs to somebody else.",
            hint="Make it readable and writable for everybody, or run both as the same user.",
        )
    if offset + byte_size > about.st_size:
        raise InvalidRequest(
            f"Region {name!r} ends at byte {offset + byte_size}, but the shared memory object "
            f"{key!r} has {about.st_size} bytes."
        )


def _is_local(peer: str) -> bool:
    """Whether an address is this machine: ``/127.0.0.1:5`` of HTTP, ``ipv6:%5B::1%5D:5`` of gRPC."""
    if peer.startswith("unix"):
        return True
    host = unquote(peer).removeprefix("/").removeprefix("ipv4:").removeprefix("ipv6:")
    try:
        address = ipaddress.ip_address(host.rpartition(":")[0].strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
