"""The protocol of one connection, without I/O: what arrives goes in, what is to be sent comes out.

Theory of operation. `receive` takes bytes as they come and works on every whole frame. A request's
fields are made into a head by the application, which opens a receiver for the stream; the receiver
is told of data, and of the end. What it answers goes through `Sender`. A peer that breaks a rule
loses the stream (`StreamFault`) or the connection (`ConnectionFault`); whatever bytes come,
`receive` does not raise.

What a peer may make this side keep, or do for nothing, is bounded: header blocks by size and by
number of frames, streams by number, their data by windows, frames that carry nothing and streams
that are reset by budgets (RFC 9113, section 10.5).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from . import frames
from .application import Application, Http2Limits
from .blocks import HeaderBlocks, unpadded
from .budget import Budget
from .codes import ConnectionFault, ErrorCode, StreamFault
from .control import Control
from .fields import FieldDecoder
from .frames import HEAD_BYTES, MAX_FRAME_BYTES, PREFACE, read_head
from .receiving import Windows
from .sending import Sender
from .stream import Stream

logger = logging.getLogger(__name__)

Head = TypeVar("Head")

FORGOTTEN_STREAMS: Final = 256
"""Streams remembered that this side has ended before the peer had."""
RESETS: Final = (2_000.0, 200.0)
"""Streams that end with RST_STREAM: at once, and per second."""


class Http2Connection(Generic[Head]):
    """The server's side of a connection.

    Args:
        application: what is served.
        write: takes bytes for the peer.
        limits: bounds.
        clock: seconds; for the budgets.

    Attributes:
        sender: the sending half.
        windows: what the peer may send.
        control: about the connection itself.
        streams: those that are open, by number.
        is_failed: nothing is read any more; the connection is to be closed.
        is_leaving: the peer was asked to open no new streams.
        is_refusing: new streams are refused.
        idle: called when the last stream has ended.
    """

    def __init__(
        self,
        application: Application[Head],
        write: Callable[[bytes], object],
        limits: Http2Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._application = application
        self._limits = limits
        self._write = write
        self.sender = Sender(write, self._answered)
        self.windows = Windows(write, limits.window_bytes, limits.reserve_bytes)
        self.streams: dict[int, Stream] = {}
        self.is_failed = False
        self.is_leaving = False
        self.is_refusing = False
        self.idle: Callable[[], None] = lambda: None
        self._decoder = FieldDecoder(application.head)
        self._blocks = HeaderBlocks()
        self.control = Control(write, self.sender, self.streams, self._left, clock)
        self._resets = Budget(*RESETS, clock)
        self._ended_early: dict[int, None] = {}
        self._last_id = 0
        self._tail = b""
        self._has_preface = False
        control = self.control
        self._take = (
            self._take_data,
            self._take_headers,
            control.priority,
            self._take_reset,
            control.settings,
            self._take_push,
            control.ping,
            control.goaway,
            self._take_window_update,
            self._take_continuation,
        )

    def __repr__(self) -> str:
        return f"<Http2Connection {len(self.streams)} streams>"

    def start(self) -> None:
        """Say the server's first words."""
        limits = self._limits
        self._write(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: limits.streams,
                    frames.INITIAL_WINDOW_SIZE: limits.window_bytes,
                    frames.MAX_HEADER_LIST_SIZE: limits.header_bytes,
                }
            )
        )
        self.windows.start()

    # -- what arrives --------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Work on what has arrived."""
        if self.is_failed:
            return
        if self._tail:
            data = self._tail + data
            self._tail = b""
        at = 0
        try:
            if not self._has_preface:
                at = self._take_preface(data)
            at = self._take_frames(data, at)
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault))
        else:
            self._tail = data[at:] if at else data

    def _take_preface(self, data: bytes) -> int:
        """How much of the data was the preface; 0 while it is not complete."""
        if data[: len(PREFACE)] != PREFACE[: len(data)]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not HTTP/2")
        if len(data) < len(PREFACE):
            return 0
        self._has_preface = True
        return len(PREFACE)

    def _take_frames(self, data: bytes, at: int) -> int:
        """Take all whole frames; returns where the next one begins."""
        size = len(data)
        take, blocks, control = self._take, self._blocks, self.control
        while self._has_preface and size - at >= HEAD_BYTES and not self.is_failed:
            high, low, kind, flags, number = read_head(data, at)
            begin = at + HEAD_BYTES
            end = begin + (high << 16 | low)
            if end - begin > MAX_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
            if end > size:
                break
            at = end
            number &= 0x7FFFFFFF
            awaited = blocks.stream_id
            if awaited and (kind != frames.CONTINUATION or number != awaited):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION expected")
            if not control.has_settings and kind != frames.SETTINGS:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS expected")
            if kind < 10:
                try:
                    take[kind](flags, number, data[begin:end])
                except StreamFault as fault:
                    self._reset(number, fault.code)
            else:
                control.count()
        return at

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA without a stream")
        self.windows.took(size)
        if flags & frames.PADDED:
            payload = unpadded(payload)
        stream = self.streams.get(number)
        if stream is None:
            self._refuse_late(number)
            return
        if stream.has_all:
            raise StreamFault(ErrorCode.STREAM_CLOSED)
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR)
        is_last = bool(flags & frames.END_STREAM)
        if not payload and not is_last:
            self.control.count()
        if stream.expects >= 0:
            stream.expects -= len(payload)
            if stream.expects < 0 or (is_last and stream.expects):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR)  # not what content-length says
        stream.has_all = is_last
        stream.receiver.data(payload, is_last)

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on no stream of a client")
        block = self._blocks.begin(flags, number, payload)
        if block is not None:
            self._take_block(number, *block)

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        block = self._blocks.go_on(flags, payload)
        if block is not None:
            self._take_block(number, *block)

    def _take_block(self, number: int, block: bytes, ends: bool) -> None:
        """A complete header block: of a request, or its trailers."""
        if number <= self._last_id:
            self._take_trailers(number, block, ends)
            return
        self._last_id = number
        head = self._decoder.request(block)
        if self.is_refusing or len(self.streams) >= self._limits.streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM)
        if self.sender.waiting_bytes > self._limits.waiting_bytes:
            raise StreamFault(ErrorCode.REFUSED_STREAM)  # until it has read what it has asked for
        stream = Stream(number, self._limits.window_bytes, self.sender.peer.window)
        stream.has_all = ends
        self.streams[number] = stream
        stream.receiver = self._application.open(stream, head)
        if ends and number in self.streams:  # else it has been answered already
            if stream.expects > 0:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR)
            stream.receiver.data(b"", True)

    def _take_trailers(self, number: int, block: bytes, ends: bool) -> None:
        """What comes behind the data of a request: nobody wants it, but it may be the end."""
        fields = self._decoder.fields(block)
        stream = self.streams.get(number)
        if stream is None:
            if number in self._ended_early:
                return
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that has ended")
        if stream.has_all:
            raise StreamFault(ErrorCode.STREAM_CLOSED)
        if not ends or any(name[:1] == b":" for name, _ in fields) or stream.expects > 0:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR)
        stream.has_all = True
        stream.receiver.data(b"", True)

    def _take_reset(self, flags: int, number: int, payload: bytes) -> None:
        del flags
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM")
        if not number or number > self._last_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        self._count_reset()
        stream = self.streams.get(number)
        if stream is not None:
            code = int.from_bytes(payload, "big")
            known = ErrorCode(code) if code <= max(ErrorCode) else ErrorCode.CANCEL
            self._drop(stream)
            stream.receiver.reset(known)
            self._look_idle()

    def _take_push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE of a client")

    def _take_window_update(self, flags: int, number: int, payload: bytes) -> None:
        del flags
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not number:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            self.sender.widen(increment)
            return
        if number > self._last_id or not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
        stream = self.streams.get(number)
        if stream is None:
            self.control.count()
            return
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR)
        self.sender.widen_stream(stream, increment)

    # -- what ends -----------------------------------------------------------------------------

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream without an answer, or in the middle of one."""
        if stream.id in self.streams:
            self._drop(stream)
            if not stream.has_all:
                self._remember(stream.id)
            self._write(frames.rst_stream(stream.id, code))
            self._look_idle()

    @property
    def has_begun(self) -> bool:
        """Whether the peer has said its first words."""
        return self.control.has_settings

    def leave(self) -> None:
        """Take no new streams, and let those that are open go on; `idle` tells when they have ended.

        A client that has opened one meanwhile is served: only when it has answered a PING, it
        has seen the first GOAWAY.
        """
        if not self.is_leaving and not self.is_failed:
            self.is_leaving = True
            self.control.announce_leaving()

    def fail(self, code: ErrorCode, text: str) -> None:
        """End the connection now; the peer is told why."""
        if self.is_failed:
            return
        self.is_failed = True
        logger.debug("Ending a connection: %s, %s", code.name, text)
        self._write(frames.goaway(self._last_id, code, text))
        self.lost(code)

    def lost(self, code: ErrorCode = ErrorCode.CANCEL) -> None:
        """The connection is gone: tell the receivers."""
        self.is_failed = True
        for stream in list(self.streams.values()):
            self._drop(stream)
            stream.receiver.reset(code)
        self._look_idle()

    def refuse_new(self) -> None:
        """Take no new streams any more, seen or not; the last words before the end."""
        if not self.is_refusing:
            self.is_refusing = True
            self.is_leaving = True
            self._write(frames.goaway(self._last_id, ErrorCode.NO_ERROR))
            self._look_idle()

    def _left(self) -> None:
        """The peer has seen that it should open no more streams."""
        if self.is_leaving:
            self.refuse_new()

    def _answered(self, stream: Stream) -> None:
        """The last frame of a stream was written."""
        del self.streams[stream.id]
        if stream.reserved:
            self.windows.release(stream)
        if not stream.has_all:  # the client may stop sending
            self._remember(stream.id)
            self._write(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
        if self.is_leaving:
            self._look_idle()

    def _reset(self, number: int, code: ErrorCode) -> None:
        """End a stream for a fault of the peer."""
        self._count_reset()
        stream = self.streams.get(number)
        if stream is None:
            self._remember(number)
            self._write(frames.rst_stream(number, code))
            return
        self._drop(stream)
        if not stream.has_all:
            self._remember(number)
        self._write(frames.rst_stream(number, code))
        stream.receiver.reset(code)
        self._look_idle()

    def _drop(self, stream: Stream) -> None:
        del self.streams[stream.id]
        self.sender.forget(stream)
        self.windows.release(stream)

    def _remember(self, number: int) -> None:
        """Frames of this stream may still be on their way."""
        self._ended_early[number] = None
        if len(self._ended_early) > FORGOTTEN_STREAMS:
            del self._ended_early[next(iter(self._ended_early))]

    def _refuse_late(self, number: int) -> None:
        """Data of a stream that is not open."""
        if number > self._last_id or not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        if number not in self._ended_early:
            raise StreamFault(ErrorCode.STREAM_CLOSED)

    def _look_idle(self) -> None:
        if not self.streams:
            self.idle()

    def _count_reset(self) -> None:
        if not self._resets.spend():
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset")
