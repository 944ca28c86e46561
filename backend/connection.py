"""The worker's end of its socket: blocking reads, one write per answer, no decisions.

Joins a socket, a `FrameDecoder` and a `Channel`. Frames wait in an inbox, because one read can
complete several. `Cancel` frames never wait: they are noted the moment they are read, so that
they overtake the batches queued before them.

Threads. The worker's main thread receives; while a handler runs, any thread of the handler may
send chunks and poll. Reading, writing and the channel's state have a lock each, so that a
writer that waits for the front end does not keep others from polling.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Container
from os import sched_yield
from threading import Lock
from time import monotonic
from typing import Final

from tsl.protocol.buffers import SOCKET_BYTES
from tsl.protocol.busy_polling import BusyPolling
from tsl.protocol.channel import Channel, ChannelState, Side
from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import Buffer, Cancel, Frame, Predict, Result

READ_BYTES: Final = 64 * 1024
"""What one read asks for unless a large frame is half here; below malloc's mmap threshold."""
JOIN_BYTES: Final = 16 * 1024
"""Answers up to here are joined into one buffer: cheaper than a vector of small ones."""
MAX_VECTOR: Final = 1024
"""Buffers per ``sendmsg``; Linux refuses more (IOV_MAX)."""


_WORKER: Final = Side.WORKER


class Connection:
    """A worker's connection to the front end.

    Args:
        sock: a connected, blocking stream socket; owned by this object from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = FrameDecoder()
        self._channel = Channel()
        self._inbox: deque[Frame] = deque()
        self._cancelled: set[tuple[int, int]] = set()
        self._has_ended = False
        self._failure: ProtocolError | None = None
        self._reading = Lock()
        self._writing = Lock()
        self._stepping = Lock()
        self._on_idle: Callable[[], None] | None = None
        self._idle_s = 0.0
        self._polling: BusyPolling | None = None
        self._is_alone = False  # what was received last: one request, and nothing behind it

    @classmethod
    def connect(cls, path: str) -> Connection:
        """Connect to the front end's socket.

        Args:
            path: path of a Unix socket.

        Raises:
            OSError: nobody listens there.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        return cls(sock)

    def close(self) -> None:
        """Close the socket; what was sent before still arrives."""
        self._sock.close()

    def call_when_idle(self, on_idle: Callable[[], None], after_s: float) -> None:
        """Have `receive` call something when nothing comes for a while; once for each such while.

        The kernel watches the time (``SO_RCVTIMEO``), so a busy connection pays nothing for it.

        Args:
            on_idle: what to call.
            after_s: how long nothing must have come, seconds.
        """
        self._on_idle, self._idle_s = on_idle, after_s
        self._limit_wait(after_s)

    def poll_busily(self, limit_s: float) -> None:
        """Have `receive` stay awake for a moment behind each lone request.

        Args:
            limit_s: for how long at most, seconds; 0.0 for never.
        """
        self._polling = BusyPolling(limit_s) if limit_s else None

    def _limit_wait(self, seconds: float) -> None:
        whole, rest = divmod(seconds, 1)
        limit = struct.pack("@ll", int(whole), int(rest * 1e6))  # a struct timeval; 0 is forever
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    # Receiving.

    def receive(self) -> Frame | None:
        """Wait for the next frame other than `Cancel`.

        Returns:
            The frame, or None when the front end closed its end.

        Raises:
            ProtocolError: the front end sent something that it must not send.
        """
        inbox = self._inbox
        while not inbox:
            with self._reading:
                if inbox:  # another thread's poll was quicker
                    break
                if self._failure is not None:
                    raise self._failure
                if self._has_ended:
                    return None
                self._cancelled.clear()  # nothing is queued or running, so all are outdated
                self._read_blocking()
        frame = inbox.popleft()
        if self._polling is not None:
            self._is_alone = not inbox and type(frame) is Predict and len(frame.rows) == 1
        return frame

    def receive_nowait(self) -> Frame | None:
        """The next frame that has arrived, other than `Cancel`; None when there is none yet.

        Call `poll` first.

        Raises:
            ProtocolError: the front end sent something that it must not send.
        """
        if self._inbox:
            return self._inbox.popleft()
        if self._failure is not None:
            raise self._failure
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the front end closed its end; frames may still be waiting."""
        return self._has_ended

    def fileno(self) -> int:
        """Descriptor of the socket, for an event loop."""
        return self._sock.fileno()

    def poll(self) -> None:
        """Take in whatever has arrived, without waiting. May be called from any thread.

        Trouble with the stream is kept for `receive`; here it counts as the end of the stream.
        """
        if not self._reading.acquire(blocking=False):
            return  # somebody else is at it
        try:
            while not self._has_ended:
                room = self._decoder.room
                if room:
                    flags = socket.MSG_DONTWAIT
                    self._take_filled(self._sock.recvmsg_into(room[:MAX_VECTOR], 0, flags)[0])
                else:
                    self._take(self._sock.recv(READ_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass  # nothing more has arrived
        except ProtocolError as error:
            self._failure = error
            self._has_ended = True
        except ConnectionError:
            self._has_ended = True
        finally:
            self._reading.release()

    def _read_blocking(self) -> None:
        room = self._decoder.room
        try:
            if room:  # the bodies of a large frame
                size = self._sock.recvmsg_into(room[:MAX_VECTOR], 0, socket.MSG_WAITALL)[0]
                self._take_filled(size)
                return
            polling = self._polling
            data = self._look(polling) if polling is not None and self._is_alone else None
            if data is None:
                data = self._sock.recv(READ_BYTES)
        except ConnectionError:  # a reset: the front end died with data of ours unread
            data = b""
        except BlockingIOError:
            self._wait_idly()
            return
        self._take(data)

    def _look(self, polling: BusyPolling) -> bytes | None:
        """Wait awake, if that is worthwhile; None when nothing has come.

        A client that waits for an answer before it asks again will ask soon. With more clients
        there is no need: the next request is here already.
        """
        recv = self._sock.recv
        if not polling.is_worthwhile():
            return None
        until = monotonic() + polling.limit_s
        while monotonic() < until:
            try:
                data = recv(READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sched_yield()  # to whoever wants this processor
                continue
            polling.paid()
            return data
        polling.failed()
        return None

    def _wait_idly(self) -> None:
        """Nothing has come for a while: say so, and wait for as long as it takes."""
        if self._on_idle is not None:
            self._on_idle()
        self._limit_wait(0)
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return  # whoever reads next will see it
        finally:
            self._limit_wait(self._idle_s)

    def _take(self, data: bytes) -> None:
        if not data:
            self._has_ended = True
            return
        for frame in self._decoder.feed(data):
            self._take_frame(frame)

    def _take_filled(self, size: int) -> None:
        """So many bytes of a large frame have come; none means the end."""
        if not size:
            self._has_ended = True
            return
        frame = self._decoder.filled(size)
        if frame is not None:
            self._take_frame(frame)

    def _take_frame(self, frame: Frame) -> None:
        with self._stepping:
            self._channel.step(Side.FRONT_END, frame)
        if type(frame) is Cancel:
            self._cancelled.add((frame.batch_id, frame.row))
        else:
            self._inbox.append(frame)

    # Cancelled rows.

    @property
    def has_cancelled(self) -> bool:
        """Whether any row may be cancelled: lets the usual case skip looking at rows."""
        return self._has_ended or bool(self._cancelled)

    def is_cancelled(self, batch_id: int, row: int) -> bool:
        """Whether nobody waits for this row any more, as far as has been read.

        Args:
            batch_id: a batch that is queued or running here.
            row: which row, from 0.
        """
        return self._has_ended or (batch_id, row) in self._cancelled

    def forget_answered(self, running: Container[int] = ()) -> None:
        """Forget cancelled rows of all batches but those still queued; call after each batch.

        Args:
            running: batches that are not answered yet.
        """
        if not self._cancelled:
            return
        with self._reading:
            queued = {frame.batch_id for frame in self._inbox if type(frame) is Predict}
            self._cancelled = {
                key for key in self._cancelled if key[0] in queued or key[0] in running
            }

    # Sending.

    def send(self, *frames: Frame) -> None:
        """Send frames in one write. May be called from any thread.

        Args:
            frames: at least one; they arrive in this order, with no other frame between.

        Raises:
            ConnectionError: the front end is gone.
            ProtocolError: a frame must not be sent now.
        """
        buffers: list[Buffer] = encode(frames[0])
        for frame in frames[1:]:
            buffers += encode(frame)
        with self._writing:
            # A result changes no state while serving, and there are many.
            is_usual = len(frames) == 1 and type(frames[0]) is Result
            if not (is_usual and self._channel.state is ChannelState.SERVING):
                with self._stepping:
                    for frame in frames:
                        self._channel.step(_WORKER, frame)
            if sum(map(len, buffers)) <= JOIN_BYTES:
                self._sock.sendall(b"".join(buffers))
            else:
                self._write_vector([memoryview(item) for item in buffers if len(item)])

    def _write_vector(self, views: list[memoryview]) -> None:
        at = 0
        while at < len(views):
            sent = self._sock.sendmsg(views[at : at + MAX_VECTOR])
            while at < len(views) and sent >= len(views[at]):
                sent -= len(views[at])
                at += 1
            if sent:
                views[at] = views[at][sent:]
