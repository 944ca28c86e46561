"""What leaves: frames within the windows of the peer, and what waits until there is room.

Room is three things: the window of the stream, that of the connection, and a transport that is not
behind. An answer for which there is room leaves as one piece of bytes; what has none waits at its
stream. When there is room again, the streams take turns, a frame each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from . import frames
from .codes import ConnectionFault, ErrorCode, StreamFault
from .frames import DATA, END_HEADERS, END_STREAM, HEADERS, MAX_WINDOW
from .settings import PeerSettings
from .stream import Stream

DRAINED_BYTES: Final = 32 * 1024
"""A stream with less than this waiting is told that it may send more."""


class Sender:
    """The sending half of a connection.

    Args:
        write: takes bytes for the peer.
        is_done: called with a stream whose last frame has been written.

    Attributes:
        window: of the connection, bytes.
        peer: settings of the peer.
        is_writable: whether the transport takes more; the transport says so.
        waiting_bytes: what waits at all streams.
    """

    __slots__ = (
        "_done",
        "_ready",
        "_waiting",
        "is_writable",
        "peer",
        "waiting_bytes",
        "window",
        "write",
    )

    def __init__(self, write: Callable[[bytes], object], done: Callable[[Stream], None]) -> None:
        self.write = write
        self._done = done
        self.window = frames.DEFAULT_WINDOW
        self.peer = PeerSettings()
        self.is_writable = True
        self.waiting_bytes = 0
        self._waiting: dict[int, Stream] = {}
        self._ready: dict[int, Stream] = {}  # of those, the ones whose own window is open

    # -- what the application has ---------------------------------------------------------------

    def respond(self, stream: Stream, head: bytes, body: bytes, trailers: bytes) -> None:
        """A whole answer.

        Args:
            stream: nothing was sent on it so far.
            head: header block.
            body: all data.
            trailers: header block that ends the stream.
        """
        size = len(body)
        if (
            size <= self.window
            and size <= stream.send_window
            and size <= self.peer.max_frame
            and self.is_writable
        ):
            number, small = stream.id, frames.head
            self.window -= size
            stream.send_window -= size
            self.write(
                b"".join(
                    (
                        small(len(head), HEADERS, END_HEADERS, number),
                        head,
                        small(size, DATA, 0, number),
                        body,
                        small(len(trailers), HEADERS, END_HEADERS | END_STREAM, number),
                        trailers,
                    )
                )
            )
            self._done(stream)
            return
        self.headers(stream, head)
        self.data(stream, body)
        self.end(stream, trailers)

    def headers(self, stream: Stream, block: bytes) -> None:
        """The head of an answer."""
        self.write(frames.headers(stream.id, block, ends=False, max_frame=self.peer.max_frame))

    def data(self, stream: Stream, data: bytes) -> None:
        """Data of an answer; it leaves at once, or waits for room."""
        view = memoryview(data)
        if stream.pending is None:
            if self.is_writable:
                view = self._write_data(stream, view)
            if not view:
                return
            stream.pending = deque()
            stream.is_moving = True
            self._waiting[stream.id] = stream
            if stream.send_window > 0:
                self._ready[stream.id] = stream
        stream.pending.append(view)
        stream.pending_bytes += len(view)
        self.waiting_bytes += len(view)

    def end(self, stream: Stream, trailers: bytes) -> None:
        """The end of an answer, behind its data."""
        if stream.pending is not None:
            stream.trailers = trailers
            return
        self.write(frames.headers(stream.id, trailers, ends=True, max_frame=self.peer.max_frame))
        self._done(stream)

    def forget(self, stream: Stream) -> None:
        """Drop what waits at a stream that is gone."""
        if stream.pending is not None:
            del self._waiting[stream.id]
            self._ready.pop(stream.id, None)
            self.waiting_bytes -= stream.pending_bytes
            stream.pending = None
            stream.pending_bytes = 0
            stream.trailers = None

    # -- what makes room -------------------------------------------------------------------------

    def widen(self, increment: int) -> None:
        """The peer takes more on the connection.

        Raises:
            ConnectionFault: more than there can be.
        """
        self.window += increment
        if self.window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "window too large")
        self.go_on()

    def widen_stream(self, stream: Stream, increment: int) -> None:
        """The peer takes more on a stream.

        Raises:
            StreamFault: more than there can be.
        """
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR)
        if stream.pending is not None and stream.send_window > 0:
            self._ready[stream.id] = stream
            self.go_on()

    def look_again(self) -> None:
        """The windows of all streams have changed."""
        self._ready = {n: stream for n, stream in self._waiting.items() if stream.send_window > 0}
        self.go_on()

    def go_on(self) -> None:
        """Send what waits, as far as there is room; streams take turns."""
        ready = self._ready
        while ready and self.window > 0 and self.is_writable:
            stream = ready.pop(next(iter(ready)))
            if stream.send_window > 0:
                self._take_turn(stream)

    def stalled(self) -> list[Stream]:
        """Streams that wait, and of which nothing has left since this was asked last."""
        stalled = []
        for stream in self._waiting.values():
            if not stream.is_moving:
                stalled.append(stream)
            stream.is_moving = False
        return stalled

    def _take_turn(self, stream: Stream) -> None:
        pending = stream.pending
        assert pending
        view = pending.popleft()
        size = min(len(view), self.peer.max_frame)
        rest = self._write_data(stream, view[:size])
        sent = size - len(rest)
        if sent < len(view):
            pending.appendleft(view[sent:])
        before = stream.pending_bytes
        stream.pending_bytes -= sent
        self.waiting_bytes -= sent
        if pending:
            if stream.send_window > 0:
                self._ready[stream.id] = stream  # behind the others
            if stream.pending_bytes < DRAINED_BYTES <= before:
                stream.receiver.drained()
            return
        del self._waiting[stream.id]
        stream.pending = None
        trailers, stream.trailers = stream.trailers, None
        if trailers is not None:
            self.end(stream, trailers)
        else:
            stream.receiver.drained()

    def _write_data(self, stream: Stream, view: memoryview) -> memoryview:
        """Write as much as there is room for; returns the rest."""
        while view:
            size = min(len(view), self.window, stream.send_window, self.peer.max_frame)
            if size <= 0 or not self.is_writable:
                break
            self.window -= size
            stream.send_window -= size
            stream.is_moving = True
            self.write(frames.head(size, DATA, 0, stream.id) + view[:size])
            view = view[size:]
        return view
