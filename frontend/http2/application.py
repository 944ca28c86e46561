"""What a connection serves, and what it may cost: the two things that its user gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from .fields import Fields
from .stream import Receiver, Stream

Head = TypeVar("Head")


class Application(Protocol[Head]):
    """What is served on a connection."""

    def head(self, fields: Fields) -> Head:
        """Make something of the fields of a request; it may serve for other equal requests.

        Raises:
            StreamFault: the fields are not those of a request.
        """

    def open(self, stream: Stream, head: Head) -> Receiver:
        """A request begins; it may be answered at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Limits:
    """Bounds of what a connection may cost.

    Attributes:
        streams: at a time.
        window_bytes: of a stream.
        reserve_bytes: that streams with larger messages may be granted together.
        waiting_bytes: of answers that the peer does not take; with more, it gets no new streams.
        header_bytes: all fields of a request, uncompressed, as the peer is told.
    """

    streams: int = 1000
    window_bytes: int = 256 * 1024
    reserve_bytes: int = 64 * 1024 * 1024
    waiting_bytes: int = 64 * 1024 * 1024
    header_bytes: int = 16 * 1024
