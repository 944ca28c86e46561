"""Which sequence a request belongs to, and what answers say about sequences.

The names of the three headers are the server's settings ``ts_header_key_sequence_*``. A request
that names no sequence begins one with an id of the server's, which its first answer tells the
client. Names are compared without regard to case, because proxies and client libraries change
it; handlers find the values under the configured spelling in any case.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tsl.protocol.errors import TslError
from tsl.protocol.frames import Chunk, Reply, Row

if TYPE_CHECKING:
    from .jobs import Job, ReplySink


def new_sequence_id() -> str:
    """An id for a sequence that its client has not named."""
    return f"ts-seq-{uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a request says.

    Attributes:
        id: of its sequence.
        is_new: the id is the server's.
        is_last: the client says that nothing follows.
        properties: pairs that handlers shall see beside the request's headers.
    """

    id: str
    is_new: bool
    is_last: bool
    properties: tuple[str, ...]


class SequenceEnds(Protocol):
    """Who wants to know that a sequence is over; `sequences.SequenceQueue` does."""

    def end(self, sequence_id: str) -> None:
        """The handler said so."""


class SequenceHeaders:
    """Reads and writes the headers of sequences.

    Args:
        id_name: header with the id of a sequence.
        start_name: header that marks its first request.
        end_name: header that marks its last request; in an answer, the ids that are over.
        new_id: makes the id of a sequence that the client did not name.
    """

    def __init__(
        self,
        id_name: str,
        start_name: str,
        end_name: str,
        new_id: Callable[[], str] = new_sequence_id,
    ) -> None:
        self.id_name = id_name
        self.start_name = start_name
        self.end_name = end_name
        self._new_id = new_id
        names = (id_name, start_name, end_name)
        self._by_lower = {name.lower().encode("latin-1"): name for name in names}

    def find(self, row: Row) -> Found:
        """Which sequence a request belongs to."""
        exact, other = self._collect(row)
        values = {**other, **exact}
        properties = [text for name in other if name not in exact for text in (name, other[name])]
        sequence_id = values.get(self.id_name, "")
        is_new = not sequence_id
        if is_new:
            sequence_id = self._new_id()
            properties += [self.id_name, sequence_id, self.start_name, "true"]
        is_last = values.get(self.end_name, "").lower() == "true"
        return Found(sequence_id, is_new, is_last, tuple(properties))

    def _collect(self, row: Row) -> tuple[dict[str, str], dict[str, str]]:
        """The three headers in the configured spelling, and those in any other."""
        exact: dict[str, str] = {}
        other: dict[str, str] = {}
        headers = row.headers
        for at in range(0, len(headers), 2):
            name = self._by_lower.get(headers[at].lower())
            if name is not None:
                is_exact = headers[at].decode("latin-1") == name
                (exact if is_exact else other)[name] = headers[at + 1].decode("latin-1")
        # What the server itself says comes last, as in the header dict of a handler.
        for at in range(0, len(row.properties), 2):
            if row.properties[at] in self._by_lower.values():
                exact[row.properties[at]] = row.properties[at + 1]
        return exact, other

    def complete(self, job: Job, found: Found) -> None:
        """Let the handler see what the request itself does not say."""
        if found.properties:
            job.row = job.row._replace(properties=[*job.row.properties, *found.properties])

    def ended(self, headers: list[str]) -> list[str]:
        """The ids that an answer says are over."""
        for at in range(0, len(headers), 2):
            if headers[at].lower() == self.end_name.lower():
                return [each.strip() for each in headers[at + 1].split(";") if each.strip()]
        return []

    def with_id(self, headers: list[str], sequence_id: str) -> list[str]:
        """The headers of an answer, with the id of its sequence."""
        name = self.id_name.lower()
        if any(headers[at].lower() == name for at in range(0, len(headers), 2)):
            return headers
        return [*headers, self.id_name, sequence_id]


class SequenceSink:
    """Stands before a job's sink and reads what answers say about sequences.

    Args:
        sink: where the answers go.
        ends: who wants to know that a sequence is over.
        headers: reads the answers.
        found: what the request said.
    """

    __slots__ = ("_ends", "_found", "_headers", "inner")

    def __init__(
        self, sink: ReplySink, ends: SequenceEnds, headers: SequenceHeaders, found: Found
    ) -> None:
        self.inner = sink
        self._ends = ends
        self._headers = headers
        self._found = found

    @property
    def is_last(self) -> bool:
        """Whether the client said that nothing follows."""
        return self._found.is_last

    def finish(self, job: Job, reply: Reply) -> None:
        """The one answer, or the last piece of a stream."""
        headers = self._read(reply.headers)
        self.inner.finish(
            job, reply if headers is reply.headers else reply._replace(headers=headers)
        )

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """A piece of a stream."""
        headers = self._read(chunk.headers)
        self.inner.chunk(
            job, chunk if headers is chunk.headers else chunk._replace(headers=headers)
        )

    def fail(self, job: Job, error: TslError) -> None:
        """There is no answer, or no rest of the stream."""
        self.inner.fail(job, error)

    def _read(self, headers: list[str]) -> list[str]:
        if headers:
            for sequence_id in self._headers.ended(headers):
                self._ends.end(sequence_id)
        return self._headers.with_id(headers, self._found.id) if self._found.is_new else headers
