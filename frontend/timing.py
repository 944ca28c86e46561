"""Where the time of one request went, for who asks: header ``x-tsl-timing``.

A job that is asked for timing is a `TimedJob`; all others know nothing of it. The answer carries
the stages in the form of the header ``Server-Timing``, which browsers can draw::

    Server-Timing: queue;dur=0.412, handler;dur=12.871, transfer;dur=0.208, total;dur=13.491

Milliseconds. ``queue`` is arrival to being sent to a worker, ``handler`` the time of its batch in
the handler, ``transfer`` what else passed until the worker's answer came back, which includes its
wait behind other batches. A stream carries ``queue`` and ``first`` (sent to first piece), because
its headers leave with its first piece.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from tsl.protocol.frames import Chunk, Reply

from .jobs import STREAMING, Job

HEADER: Final = "Server-Timing"


class TimedJob(Job):
    """A job whose answer says where its time went."""

    __slots__ = ()

    def finish(self, reply: Reply) -> bool:
        """Hand over the answer; of a stream, the last piece has no headers any more."""
        if self.state == STREAMING:
            return super().finish(reply)
        now = monotonic()
        service_ms = self.batch.service_us / 1000 if self.batch is not None else 0.0
        worker_ms = (now - self.sent_at) * 1000
        value = (
            f"queue;dur={self._queued_ms():.3f}, handler;dur={service_ms:.3f}, "
            f"transfer;dur={max(worker_ms - service_ms, 0.0):.3f}, "
            f"total;dur={(now - self.enqueued_at) * 1000:.3f}"
        )
        return super().finish(reply._replace(headers=[*reply.headers, HEADER, value]))

    def stream(self, chunk: Chunk) -> bool:
        """Hand over a piece of a stream."""
        if self.state == STREAMING:
            return super().stream(chunk)
        first_ms = (monotonic() - self.sent_at) * 1000
        value = f"queue;dur={self._queued_ms():.3f}, first;dur={first_ms:.3f}"
        return super().stream(chunk._replace(headers=[*chunk.headers, HEADER, value]))

    def _queued_ms(self) -> float:
        return (self.sent_at - self.enqueued_at) * 1000
