"""Header blocks: HPACK in, with a memory for blocks that come again; constant blocks out.

A client's calls differ in little: after the first one its header blocks are a dozen bytes that say
"as before". What such a block means depends on the table that both sides keep, and a block that
only points into that table does not change it. So the meaning of a block is remembered until the
table changes (``hpack``'s decoder would take some 30 µs each time).

What is sent is never indexed: such a block is the same bytes on every connection, made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar, cast

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from .codes import ConnectionFault, ErrorCode

Head = TypeVar("Head")
Fields = list[tuple[bytes, bytes]]

MAX_LIST_BYTES: Final = 256 * 1024
"""A block that unfolds to more than this is an attack: the connection ends."""
REMEMBERED: Final = 16
"""Blocks remembered for one connection."""
REMEMBERED_BYTES: Final = 1024
"""Longest block that is remembered."""


class _Table(HeaderTable):
    """Counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, newmax: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.fset(self, newmax)  # type: ignore[attr-defined]


class FieldDecoder(Generic[Head]):
    """Turns header blocks into what an application makes of them.

    Args:
        make: what the application makes of the fields of a request.
    """

    __slots__ = ("_decoder", "_known", "_make", "_table")

    def __init__(self, make: Callable[[Fields], Head]) -> None:
        self._make = make
        self._table = _Table()
        self._decoder = Decoder(MAX_LIST_BYTES)
        self._decoder.header_table = self._table
        self._known: dict[bytes, Head] = {}

    def request(self, block: bytes) -> Head:
        """The head of a request.

        Raises:
            ConnectionFault: the block cannot be decoded, so no later one can be.
            StreamFault: of ``make``: the fields are not those of a request.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        before = self._table.changes
        head = self._make(self.fields(block))
        if self._table.changes == before and len(block) <= REMEMBERED_BYTES:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[block] = head
        return head

    def fields(self, block: bytes) -> Fields:
        """The fields of any block; the table is kept in step.

        Raises:
            ConnectionFault: the block cannot be decoded, so no later one can be.
        """
        before = self._table.changes
        try:
            fields = cast("Fields", self._decoder.decode(block, raw=True))
        except HPACKError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        if self._table.changes != before:
            self._known.clear()
        return fields


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block in which nothing is indexed: the same bytes for every connection.

    Args:
        fields: names in lower case, and values.
    """
    block = bytearray()
    for name, value in fields:
        block.append(0)  # a literal, with a name of its own, not to be indexed
        _add_text(block, name)
        _add_text(block, value)
    return bytes(block)


def _add_text(block: bytearray, text: bytes) -> None:
    length = len(text)
    if length < 0x7F:
        block.append(length)
    else:
        block.append(0x7F)
        length -= 0x7F
        while length >= 0x80:
            block.append(length & 0x7F | 0x80)
            length >>= 7
        block.append(length)
    block += text
