"""Fakes that tests of the front end share: no sockets, no processes, no real time.

Import them by the bare name, which `tests/conftest.py` makes possible::

    from fakes import FakeTransport

They are fakes, not mocks: each keeps the promises of the real thing that matter to its user
(`FakeTransport` calls ``pause_writing`` when it is full, and refuses nothing silently).
"""

from __future__ import annotations

import asyncio
from collections import Counter

from tsl.frontend.http_api.messages import FIXED_HEADERS
from tsl.frontend.jobs import SENT, Job
from tsl.protocol.frames import Part, Row

HIGH_WATER = 64 * 1024
DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def hand_over(transport, data):
    """Give what arrives to a transport's present protocol, as protocols of its kind get it."""
    while isinstance(transport.get_protocol(), asyncio.BufferedProtocol):
        protocol = transport.get_protocol()
        buffer = memoryview(protocol.get_buffer(len(data)))
        assert len(buffer) > 0, "no place for what has arrived"
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]
        if not data:
            return
    transport.get_protocol().data_received(data)


class FakeTransport(asyncio.Transport):
    """The server's end of a connection; the test plays the client and the kernel.

    Args:
        protocol: told about pausing and resuming; may be set later with `set_protocol`.
        peername: what ``get_extra_info("peername")`` answers.
        can_write_eof: false for a transport like TLS.
        sock: what ``get_extra_info("socket")`` answers.

    Attributes:
        sent: all that the client has received.
        pending: what was written and the client has not taken (see `stall`).
        writes: number of calls of ``write`` and ``writelines``.
        is_reading: false between ``pause_reading`` and ``resume_reading``.
        is_eof_written: the writing side is closed.
        is_aborted: the connection was dropped: what is pending is lost.
    """

    def __init__(
        self, protocol=None, peername=("192.0.2.1", 40000), *, can_write_eof=True, sock=None
    ):
        super().__init__()
        self._protocol = protocol
        self._peername = peername
        self._can_write_eof = can_write_eof
        self._socket = sock
        self._is_stalled = False
        self._is_full = False
        self._is_closing = False
        self.sent = bytearray()
        self.pending = bytearray()
        self.writes = 0
        self.is_reading = True
        self.is_eof_written = False
        self.is_aborted = False
        self.is_lost = False

    # -- the server's side -------------------------------------------------------------------

    def get_extra_info(self, name, default=None):
        return {"peername": self._peername, "socket": self._socket}.get(name, default)

    def set_protocol(self, protocol):
        self._protocol = protocol

    def get_protocol(self):
        return self._protocol

    def is_closing(self):
        return self._is_closing

    def receive(self, data):
        """Something arrives."""
        hand_over(self, data)

    def write(self, data):
        assert isinstance(data, bytes | bytearray | memoryview)
        assert len(data) > 0, "an empty write is a wasted call"
        assert not self.is_eof_written, "write after write_eof"
        self.writes += 1
        if self._is_closing:
            return  # as asyncio: nobody reads it any more
        self.pending += data
        if not self._is_stalled:
            self._flush()
        elif len(self.pending) > HIGH_WATER and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data):
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self):
        return len(self.pending)

    def set_write_buffer_limits(self, high=None, low=None):
        """The limit here is always `HIGH_WATER`."""

    def can_write_eof(self):
        return self._can_write_eof

    def write_eof(self):
        assert self._can_write_eof
        self.is_eof_written = True

    def pause_reading(self):
        assert self.is_reading, "paused twice"
        self.is_reading = False

    def resume_reading(self):
        assert not self.is_reading, "resumed without a pause"
        self.is_reading = True

    def close(self):
        self._is_closing = True
        if not self.pending:
            self._lose()

    def abort(self):
        self._is_closing = self.is_aborted = True
        self.pending.clear()
        self._lose()

    # -- the client's side -------------------------------------------------------------------

    def stall(self):
        """The client takes nothing from now on."""
        self._is_stalled = True

    def take(self, size_bytes=None):
        """The client takes what is pending, or so much of it, and then stalls again."""
        if size_bytes is None:
            self._is_stalled = False
            size_bytes = len(self.pending)
        self.sent += self.pending[:size_bytes]
        del self.pending[:size_bytes]
        if self._is_full and len(self.pending) <= HIGH_WATER // 4:
            self._is_full = False
            self._protocol.resume_writing()
        if self._is_closing and not self.pending:
            self._lose()

    def end_of_stream(self):
        """The client closes its writing side, or all of its socket."""
        if not self._is_closing and not self._protocol.eof_received():
            self.close()

    def lose(self):
        """The connection breaks."""
        self._is_closing = True
        self.pending.clear()
        self._lose()

    def _flush(self):
        self.sent += self.pending
        self.pending.clear()

    def _lose(self):
        if not self.is_lost:
            self.is_lost = True
            self._protocol.connection_lost(None)


class FakeClock:
    """The clock of `HttpContext`, moved by hand.

    Attributes:
        now: seconds.
        headers: the fixed headers with a date that never changes.
    """

    def __init__(self, now=1000.0):
        self.now = now
        self.headers = FIXED_HEADERS + DATE

    def advance(self, seconds):
        """Let time pass."""
        self.now += seconds

    @staticmethod
    def watch(renew):
        """Call something now; the headers never change."""
        renew()


class FakeChannel:
    """What a job and a slow client want of a `WorkerChannel`.

    Attributes:
        cancelled: jobs that were withdrawn, in order.
        paused: how many have paused reading and not resumed it.
        after_read: what waits for the end of a read; a list to let it wait, else None.
    """

    def __init__(self):
        self.after_read = None
        self.cancelled = []
        self.paused = 0

    def cancel(self, batch, job):
        del batch
        self.cancelled.append(job)

    def call_after_read(self, callback):
        if self.after_read is None:
            callback()
        else:
            self.after_read.append(callback)

    def end_read(self):
        """All that has come together is handled."""
        callbacks, self.after_read = self.after_read, []
        for callback in callbacks:
            callback()

    def pause_reading(self):
        self.paused += 1

    def resume_reading(self):
        assert self.paused, "resumed without a pause"
        self.paused -= 1


class ReplyRecorder:
    """A `ReplySink` that keeps what it is told.

    Attributes:
        events: ``("finish", reply)``, ``("chunk", chunk)`` and ``("fail", error)``, in order.
    """

    def __init__(self):
        self.events = []

    def finish(self, job, reply):
        del job
        self.events.append(("finish", reply))

    def chunk(self, job, chunk):
        del job
        self.events.append(("chunk", chunk))

    def fail(self, job, error):
        del job
        self.events.append(("fail", error))


class RecordingStats:
    """`Stats` that keeps what it counts."""

    def __init__(self):
        self.statuses = []
        self.events = []
        self.refused_callers = Counter()

    def refused(self, permission, reason):
        self.refused_callers[permission, reason] += 1

    def responded(self, status):
        self.statuses.append(status)

    def accepted(self, job):
        self.events.append(("accepted", job))

    def answered(self, job, status):
        self.events.append(("answered", status))

    def streamed(self, job):
        self.events.append(("streamed", job.state.name))

    def failed(self, job, error):
        self.events.append(("failed", type(error).__name__))


class RecordingAccessLog:
    """`AccessLog` that keeps ``(peer, method, target, status)``, and the ids beside them."""

    def __init__(self):
        self.lines = []
        self.ids = []

    def add(self, peer, request, status, request_id):
        self.ids.append(request_id)
        self.lines.append((peer, request.method, request.target, status))


def sent_job(sink, channel=None, *, request_id="r", now=0.0, body=b""):
    """A job that a worker has got, for its answer to be played by the test.

    Args:
        sink: where its answer goes.
        channel: whose worker has it; a `FakeChannel` of its own by default.
    """
    job = Job(Row(request_id, [], [], [Part("body", "", body)]), sink, now)
    job.state = SENT
    job.channel = channel if channel is not None else FakeChannel()
    job.batch = object()
    return job
