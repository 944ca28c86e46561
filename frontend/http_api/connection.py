"""One client connection: bytes in, requests out, responses back in order.

Theory of operation. What arrives is collected for one turn of the event loop (`LoopTurn`), then
`RequestParser` turns bytes into `Request`s (or one error, after which it is
of no use). A connection answers one request at a time; pipelined ones wait in order, and beyond a
bound the connection is not read any more. An error of the parser waits its turn like a request.
When the last response of a connection has been written, its writing side is closed and what the
client still sends is thrown away for a moment: closing at once would make the kernel reset the
connection, and the client could lose the response.

Every time-out is one number, `deadline`; the server's sweeper closes what has passed it once a
second. No timer exists per connection or request.

An end of the client's stream while it waits for an answer means that it left, if it had wanted
to keep the connection. With ``Connection: close`` in its last request, or HTTP/1.0 without
keep-alive, it may be a client that closes its writing side after the request, so the answers are
still sent.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, cast

from tsl.protocol.errors import InternalError, MethodNotAllowed, TslError
from tsl.protocol.frames import Buffer

from ..direct_reading import DIRECT_BYTES, read_directly
from .exchange import JOIN_BELOW_BYTES, Exchange
from .flow import FlowControl, Producer
from .messages import CONTINUE, Request
from .parser import RequestParser

if TYPE_CHECKING:
    from .context import HttpContext

logger = logging.getLogger(__name__)


class HttpConnection(asyncio.Protocol):
    """A client's connection to one of the listeners.

    Args:
        context: what the listener's connections share.
    """

    def __init__(self, context: HttpContext) -> None:
        # for the whole life
        self.context = context
        self._turn = context.turn
        self.peer = b"unix"
        self.deadline = math.inf
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._flow: FlowControl = cast("FlowControl", None)
        self._parser = RequestParser(
            self,
            context.limits,
            context.heads,
            withholds_authorization=context.withholds_authorization,
        )
        self._waiting: deque[Request | TslError] = deque()
        # for the present request
        self._exchange: Exchange | None = None
        self.is_gathering = False  # parts of the response that come soon are to leave together
        self._pieces: list[Buffer] = []
        self._is_serving = False  # inside the loop of `_serve_waiting`
        # towards the end
        self._is_last = False  # nothing that arrives from now on is a request
        self._has_ended = False  # the client has closed its writing side
        self._is_closing = False  # the last response has been written

    def __repr__(self) -> str:
        return f"<HttpConnection {self.peer.decode()} {self._exchange or 'idle'}>"

    @property
    def is_idle(self) -> bool:
        """Whether there is no request, not even a part of one."""
        return self._exchange is None and not self._waiting and self._parser.is_between_requests

    @property
    def is_arriving(self) -> bool:
        """Whether a part of a request has arrived, and nothing else is going on."""
        return self._exchange is None and not self._parser.is_between_requests

    @property
    def is_closing(self) -> bool:
        """Whether the last response has been written, and has left."""
        return self._is_closing and not self._flow.has_unsent()

    # -- events of the transport -----------------------------------------------------------------

    def connection_made(
        self, transport: asyncio.BaseTransport, below: asyncio.WriteTransport | None = None
    ) -> None:
        """A client connected; beyond the limit of connections it is turned away.

        Args:
            transport: the connection.
            below: with TLS, the transport that carries it.
        """
        context = self.context
        self._transport = cast("asyncio.Transport", transport)
        self._flow = FlowControl(self._transport, below)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = f"/{peer[0]}:{peer[1]}".encode("ascii", "replace")
        if len(context.connections) >= context.limits.connections:
            self._transport.abort()
            return
        context.connections.add(self)
        self.deadline = context.clock.now + context.limits.keep_alive_s

    def data_received(self, data: bytes) -> None:
        """Note what has arrived; `process` gets it when the loop has read all there is."""
        self._turn.add(self, data)

    def process(self, data: bytes) -> None:
        """Parse, and serve what is complete."""
        if self._is_last:
            return
        parser = self._parser
        was_between = parser.is_between_requests
        if was_between and self._exchange is None and not self._waiting and self._flow.is_writable:
            request = parser.known(data)
            if request is not None:  # the usual case: one request, and its job is on its way
                self.deadline = math.inf  # unless it is answered at once
                self._serve(request)
                return
        elif not was_between and parser.has_room:
            self._pour(data)
            return
        error = parser.feed(data)
        if error is not None:
            self._is_last = True
            self._waiting.append(error)
        if self._exchange is None:
            if self._waiting or parser.wants_continue:
                self._serve_waiting()
            if not parser.is_between_requests:
                if was_between:
                    self._set_deadline()  # for all of a head: later bytes do not put it off
                if (
                    parser.missing_body >= DIRECT_BYTES
                    and self._exchange is None
                    and not self._is_last
                ):
                    parser.begin_direct()
                    read_directly(self._transport, self)
        if self._waiting:
            self._pause_if_full()

    def _pour(self, data: bytes) -> None:
        """Take what had been read already when a large body got memory of its own."""
        room = self._parser.direct_room()
        size = min(len(room), len(data))
        room[:size] = data[:size]
        if not self.direct_filled(size):
            self._transport.set_protocol(self)
            if data[size:]:
                self.process(data[size:])

    def direct_room(self) -> memoryview:
        """Where the rest of a large body goes."""
        return self._parser.direct_room()

    def direct_filled(self, size: int) -> bool:
        """So much of a large body has come; answers whether there is more to come."""
        if self._is_last:
            return False  # what comes now is thrown away
        if self._parser.direct_filled(size):
            return True
        self._serve_waiting()
        return False

    def _pause_if_full(self) -> None:
        """Bound what waits, by number and by size."""
        limits, waiting = self.context.limits, self._waiting
        size = sum(len(item.body) for item in waiting if isinstance(item, Request))
        if len(waiting) > limits.pipelined or size > limits.body_bytes:
            self._flow.pause_reading()

    def eof_received(self) -> bool:
        """The client has nothing more to say; it may still listen (see the module's text)."""
        self._turn.handle()
        self._is_last = True
        if self._is_closing or self.is_idle:
            return False  # close
        # TLS ends in both directions at once: such a client cannot be answered.
        if self._transport.can_write_eof() and self._may_listen():
            self._has_ended = True
            return True
        self._leave()
        self._is_closing = True
        self._set_deadline()  # what is still to be sent must not keep the connection for ever
        return False

    def _may_listen(self) -> bool:
        if self._waiting:
            last = self._waiting[-1]
            return isinstance(last, TslError) or not last.keep_alive
        return self._exchange is not None and not self._exchange.request.keep_alive

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; cancel what was being done for it."""
        del exc
        self._turn.handle()
        self.context.connections.discard(self)
        self._leave()
        self._is_last = True
        self._parser.close()

    def pause_writing(self) -> None:
        """The client takes less than we send."""
        self._flow.pause_writing()
        self.deadline = self.context.clock.now + self.context.limits.client_write_s

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._flow.resume_writing()
        if self._exchange is None:
            self._serve_waiting()
        else:
            self._set_deadline()

    # -- events of the parser ----------------------------------------------------------------------

    def request_complete(self, request: Request) -> None:
        """A whole request has arrived."""
        if not request.keep_alive:
            self._is_last = True
        self._waiting.append(request)

    def body_progress(self) -> None:
        """A good piece of a body has arrived."""
        self._set_deadline()

    # -- serving -------------------------------------------------------------------------------------

    def _serve_waiting(self) -> None:
        """Start requests until one is not answered at once, the client is slow, or none is left."""
        if self._is_serving:
            return
        self._is_serving = True
        waiting, flow = self._waiting, self._flow
        while waiting and self._exchange is None and flow.is_writable and not self._is_closing:
            self._serve(waiting.popleft())
        self._is_serving = False
        if self._exchange is not None and not waiting and flow.is_writable:
            flow.resume_reading()
            self.deadline = math.inf
            return
        if self._parser.wants_continue and self._exchange is None and not self._is_last:
            self._parser.wants_continue = False
            self._turn.write(self._transport, CONTINUE)
        if len(waiting) <= self.context.limits.pipelined // 2:
            flow.resume_reading()
        self._set_deadline()

    def _serve(self, item: Request | TslError) -> None:
        if isinstance(item, TslError):
            exchange = Exchange(self, self._parser.broken_request())
            self._exchange = exchange
            exchange.respond_error(item)
            return
        exchange = Exchange(self, item)
        self._exchange = exchange
        head = item.head
        try:
            match = head.match
            if match is None:
                match = head.match = self.context.router.match(head.method, head.target)
            match.endpoint(exchange, match.params)
        except MethodNotAllowed as error:
            exchange.respond_error(error, self.context.router.allow(item.target))
        except TslError as error:
            if exchange.job is not None:  # refused after it was counted
                self.context.stats.failed(exchange.job, error)
            exchange.respond_error(error)
        except Exception:
            # The boundary of the front end's request handling: a bug must cost one request.
            logger.exception("%s: internal error", exchange.request_id, extra=exchange.log_fields)
            exchange.respond_error(InternalError())

    # -- what exchanges write --------------------------------------------------------------------------

    def write(self, *pieces: Buffer) -> None:
        """A part of a response; between `is_gathering` and `write_gathered` it waits for others."""
        self._pieces += pieces
        if not self.is_gathering:
            self.write_gathered()

    def write_gathered(self) -> None:
        """Write the parts of a response that have come together."""
        self.is_gathering = False
        pieces, self._pieces = self._pieces, []
        if not pieces or self._transport.is_closing():
            return
        if sum(map(len, pieces)) < JOIN_BELOW_BYTES:
            self._turn.write(self._transport, b"".join(pieces))
        else:
            self._turn.flush()
            self._transport.writelines(pieces)

    def exchange_done(self, exchange: Exchange, data: bytes, body: Buffer = b"") -> None:
        """The last part of a response; go on with the next request."""
        if self.is_gathering:
            self._pieces += (data, body)
            self.write_gathered()
        elif body:
            self._turn.flush()
            self._transport.writelines((data, body))
        elif data:
            self._turn.write(self._transport, data)
        context, request, status = self.context, exchange.request, exchange.status
        context.stats.responded(status)
        if context.access_log is not None:
            context.access_log.add(self.peer, request, status, exchange.request_id)
        self._exchange = None
        if not request.keep_alive or context.is_draining:
            self._finish()
        elif self._waiting or self._parser.wants_continue:
            self._serve_waiting()
        elif self._parser.is_between_requests and self._flow.is_writable:  # as `_set_deadline`
            self.deadline = context.clock.now + context.limits.keep_alive_s
        else:
            self._set_deadline()

    def exchange_broken(self, exchange: Exchange) -> None:
        """A stream cannot be completed: drop the connection so that the client notices."""
        self._note(exchange, exchange.status)
        self._exchange = None
        self.write_gathered()
        self._is_last = self._is_closing = True
        self._waiting.clear()
        self._flow.release()
        self._set_deadline()
        self._turn.flush()
        if exchange.request.is_http_1_1:
            self._transport.close()  # flushes; the missing last chunk tells
        else:
            self._reset()  # close-delimited: only a reset tells

    def exchange_aborted(self, exchange: Exchange, status: int) -> None:
        """The client left before its response was complete."""
        self._note(exchange, status)
        if self._exchange is exchange:
            self._exchange = None

    def hold_if_slow(self, producer: Producer | None) -> None:
        """Pause a stream's producer while the client does not keep up."""
        if not self._flow.is_writable and producer is not None:
            self._flow.hold(producer)

    def stream_ended(self) -> None:
        """Nobody produces any more: a slow client holds up its own connection only."""
        self._flow.release()

    # -- the end -----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """The server is stopping: close when the present requests are answered."""
        self._turn.handle()
        if self.is_idle:
            self._is_last = self._is_closing = True
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection now."""
        self._transport.abort()

    def _reset(self) -> None:
        """Drop the connection with a TCP reset, which no client takes for an orderly end."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Called once a second: enforce the deadline."""
        if now < self.deadline:
            return
        self._turn.handle()
        if now < self.deadline:
            return
        if self._flow.has_unsent():
            if self._flow.has_progressed():
                self.deadline = now + self.context.limits.client_write_s
            else:
                self._transport.abort()
        elif self.is_arriving and not self._is_closing:
            self._is_last = True
            self._waiting.append(self._parser.timed_out())
            self._serve_waiting()
        else:
            self._transport.abort()

    def _finish(self) -> None:
        """Close for writing, and wait a moment for the client to close, too."""
        self._is_last = self._is_closing = True
        self._waiting.clear()
        self._flow.resume_reading()
        self._set_deadline()
        self._turn.flush()
        if self._transport.can_write_eof() and not self._has_ended:
            self._transport.write_eof()
        else:
            self._transport.close()

    def _leave(self) -> None:
        self._waiting.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        self._flow.release()

    def _set_deadline(self) -> None:
        limits, now = self.context.limits, self.context.clock.now
        if not self._flow.is_writable:
            return  # set by `pause_writing`
        if self._exchange is not None:
            self.deadline = math.inf  # the job has its own time limits
        elif self._is_closing:
            self.deadline = now + limits.linger_s
        elif self._parser.is_between_requests:
            self.deadline = now + limits.keep_alive_s
        else:
            self.deadline = now + limits.request_read_s

    def _note(self, exchange: Exchange, status: int) -> None:
        context = self.context
        context.stats.responded(status)
        if context.access_log is not None:
            context.access_log.add(self.peer, exchange.request, status, exchange.request_id)
