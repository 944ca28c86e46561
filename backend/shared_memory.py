"""Tensors in shared memory: inputs are read from regions, outputs are written to them.

A region belongs to a client, who may change or truncate it at any time. So nothing is mapped: a
page of a mapping that has lost its file kills the process that touches it. `os.preadv` copies the
values once, into the memory that the array is made of, and what it cannot read is an error of one
request. What has been read cannot change any more while the model works on it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tsl.protocol.errors import InternalError, InvalidInput
from tsl.protocol.frames import Buffer, Row
from tsl.protocol.shared_memory import (
    BYTE_SIZE,
    OFFSET,
    REGION,
    REGIONS,
    RegionRef,
    RegionTable,
    unpack,
)
from tsl.protocol.tensors import MAX_NAME

if TYPE_CHECKING:
    from .context import Context

_OPEN_FLAGS: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NONE: Final = RegionTable(0, 0, True, {})


class Piece(NamedTuple):
    """A part of a region, for one tensor.

    Attributes:
        what: the tensor, for messages: ``Input 'x'``.
        name: of the region.
        ref: the region.
        offset: where the piece begins in the region, in bytes.
        size: of the piece, in bytes.
    """

    what: str
    name: str
    ref: RegionRef
    offset: int
    size: int

    def parameters(self, size: int) -> dict[str, Any]:
        """What an answer says of an output that is here.

        Args:
            size: bytes that were written.
        """
        parameters: dict[str, Any] = {REGION: self.name, BYTE_SIZE: size}
        if self.offset:
            parameters[OFFSET] = self.offset
        return parameters


class Regions:
    """The regions that a request may use.

    Args:
        table: what the front end has sent along.
    """

    def __init__(self, table: RegionTable = _NONE) -> None:
        self._table = table
        self._left = table.max_bytes

    @staticmethod
    def of(row: Row) -> Regions:
        """The regions of a row."""
        properties = row.properties
        if REGIONS not in properties[::2]:
            return NO_REGIONS
        return Regions(unpack(properties[2 * properties[::2].index(REGIONS) + 1]))

    def read(self, name: str, parameters: Mapping[str, Any]) -> bytearray:
        """The values of an input, in memory of their own.

        Args:
            name: of the input.
            parameters: of the input.

        Returns:
            Shape ``(shared_memory_byte_size,)`` bytes.

        Raises:
            InvalidInput: there is no such region, or it has not that much, or not any more.
        """
        piece = self._piece(f"Input {name!r}", parameters)
        self._left -= piece.size
        if self._left < 0:
            raise InvalidInput(
                f"With input {name!r} the request reads more than {self._table.max_bytes} bytes "
                "from shared memory.",
                hint="max_shared_memory_size is the limit for models with inputFormat: tensors, "
                "max_request_size for others.",
            )
        values = bytearray(piece.size)
        with self._open(piece, os.O_RDONLY) as fd:
            _read(fd, values, piece)
        return values

    def pieces(self, document: Mapping[str, Any]) -> dict[str, Piece]:
        """Where the outputs of a request are to go, by their names.

        Args:
            document: the request; ``outputs`` is as the client wrote it.

        Raises:
            InvalidInput: there is no such region, or it is too small, or nobody would put them
                there.
        """
        outputs = document.get("outputs")
        found = {}
        for entry in outputs if isinstance(outputs, list) else ():
            parameters = entry.get("parameters") if isinstance(entry, dict) else None
            if isinstance(parameters, dict) and REGION in parameters:
                name = str(entry.get("name"))[:MAX_NAME]
                if not self._table.takes_outputs:
                    msg = f"Output {name!r} cannot go to shared memory: the handler answers itself."
                    hint = "inputFormat: tensors, or service_envelope=kservev2, would do it."
                    raise InvalidInput(msg, hint=hint)
                found[name] = self._piece(f"Output {name!r}", parameters)
        return found

    def write(self, piece: Piece, values: Buffer) -> None:
        """Put the values of an output where the client wants them.

        Args:
            piece: one of `pieces`.
            values: shape ``(size,)`` bytes.

        Raises:
            InvalidInput: they do not fit, or the region is not there any more.
        """
        if len(values) > piece.size:
            msg = f"{piece.what} has {len(values)} bytes, but {piece.size} bytes of region "
            raise InvalidInput(f"{msg}{piece.name!r} are set aside for it.")
        with self._open(piece, os.O_RDWR) as fd:
            at = piece.ref.offset + piece.offset
            view = memoryview(values)
            try:
                while len(view):
                    written = os.pwrite(fd, view, at)
                    at += written
                    view = view[written:]
            except OSError as error:  # no memory is left for it
                msg = f"{piece.what} cannot be written to region {piece.name!r}: {error.strerror}."
                raise InvalidInput(msg) from error

    def _piece(self, what: str, parameters: Mapping[str, Any]) -> Piece:
        name = parameters[REGION]
        if not isinstance(name, str) or len(name) > MAX_NAME:
            raise InvalidInput(f"{what}: {REGION} is not the name of a region.")
        ref = self._table.regions.get(name)
        if ref is None:
            raise InvalidInput(
                f"{what} is to be in the shared memory region {name!r}, which is not registered.",
                hint="Register it first; the setting shared_memory allows that.",
            )
        size = _number(what, BYTE_SIZE, parameters.get(BYTE_SIZE))
        offset = _number(what, OFFSET, parameters.get(OFFSET, 0))
        if offset + size > ref.size:
            raise InvalidInput(
                f"{what} ends at byte {offset + size} of the shared memory region {name!r}, which "
                f"has {ref.size} bytes."
            )
        return Piece(what, name, ref, offset, size)

    @contextmanager
    def _open(self, piece: Piece, flags: int) -> Iterator[int]:
        """The object, if it still is the one that was registered, and large enough."""
        ref = piece.ref
        gone = f"{piece.what}: the shared memory region {piece.name!r} is not registered any more."
        try:
            fd = os.open(f"/proc/{self._table.pid}/fd/{ref.fd}", flags | _OPEN_FLAGS)
        except FileNotFoundError as error:
            raise InvalidInput(gone) from error
        except OSError as error:
            msg = "A worker cannot open the shared memory that the server has opened."
            raise InternalError(msg) from error
        try:
            about = os.fstat(fd)
            is_same = (about.st_dev, about.st_ino) == (ref.device, ref.inode)
            if not is_same or not stat.S_ISREG(about.st_mode):
                raise InvalidInput(gone)
            if about.st_size < ref.offset + piece.offset + piece.size:
                raise _truncated(piece)
            yield fd
        finally:
            os.close(fd)


def _number(what: str, key: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise InvalidInput(f"{what}: {key} must be a number from 0 up.")
    return value


def _read(fd: int, values: bytearray, piece: Piece) -> None:
    at = piece.ref.offset + piece.offset
    with memoryview(values) as view:
        done = 0
        while done < len(values):
            with view[done:] as rest:
                count = os.preadv(fd, [rest], at + done)
            if not count:
                raise _truncated(piece)
            done += count


def _truncated(piece: Piece) -> InvalidInput:
    return InvalidInput(
        f"{piece.what}: the shared memory of region {piece.name!r} has become too small.",
        hint="Do not truncate an object that is registered.",
    )


def place_output(
    context: Context, row: int, regions: Regions, piece: Piece, values: Buffer
) -> dict[str, Any]:
    """Write an output, unless nobody waits for it or another process of the group does it.

    Args:
        context: of the batch.
        row: number in the batch.
        regions: of the request.
        piece: where to.
        values: shape ``(size,)`` bytes.

    Returns:
        The parameters of the output in the answer.

    Raises:
        InvalidInput: it cannot be written.
    """
    line = getattr(context, "cl_socket", None)
    if not getattr(line, "is_silent", False) and not context.is_cancelled(row):
        regions.write(piece, values)
    return piece.parameters(len(values))


NO_REGIONS: Final = Regions()
