"""One job's share of a channel on which the answers to many clients travel.

A stream whose client is slow normally pauses the channel that it comes from: nobody else waits
there. On a shared channel everybody would wait for the slowest client, so its pieces are
buffered first, and only if there are too many of them the channel is paused after all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jobs import Job
    from .worker_channel import Batch, WorkerChannel

PATIENCE_BYTES: Final = 1024 * 1024
"""What may be buffered for a slow client before others have to wait for it."""


class SharedLine:
    """A job's line to a worker that serves others at the same time; see `jobs.JobLine`.

    Attributes:
        is_held: the client is slower than its stream.
    """

    __slots__ = ("_channel", "_is_paused", "_size_bytes", "is_held")

    def __init__(self, channel: WorkerChannel) -> None:
        self._channel = channel
        self._is_paused = False
        self._size_bytes = 0
        self.is_held = False

    def cancel(self, batch: Batch, job: Job) -> None:
        """Tell the worker that nobody waits for this job any more."""
        self._channel.cancel(batch, job)

    def call_after_read(self, callback: Callable[[], None]) -> None:
        """Call something when all that the channel has read is handled."""
        self._channel.call_after_read(callback)

    def pause_reading(self) -> None:
        """The client does not keep up: begin to count."""
        self.is_held = True
        self._size_bytes = 0

    def count(self, size_bytes: int) -> None:
        """Account for a piece that was buffered while the line is held."""
        self._size_bytes += size_bytes
        if self._size_bytes > PATIENCE_BYTES and not self._is_paused:
            self._is_paused = True
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        """The client has caught up, or left."""
        self.is_held = False
        if self._is_paused:
            self._is_paused = False
            self._channel.resume_reading()
