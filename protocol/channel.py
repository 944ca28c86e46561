"""Which frame may follow which on a worker's socket: one table for both ends.

Theory of operation. A connection moves through `ChannelState` in one direction only. What moves
it are frames; who sent a frame is part of the table, so each end consults the same table for
what it sends and for what it receives. A frame that is not listed for the current state is a
`ProtocolError` of its sender.

Rules for editing: the table is the documentation. A new frame gets its rows here first; there
are no transitions anywhere else. ``docs/states.md`` is drawn from this table.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Final

from .errors import ProtocolError
from .frames import (
    Cancel,
    Chunk,
    Done,
    Failure,
    Frame,
    Hello,
    Load,
    Loaded,
    LoadFailure,
    Metrics,
    Ping,
    Pong,
    Predict,
    Result,
    Shutdown,
)


class Side(Enum):
    """The two ends of a worker's socket."""

    FRONT_END = auto()
    WORKER = auto()

    __hash__ = object.__hash__  # Enum's own is Python code, and runs for every frame


class ChannelState(Enum):
    """How far a connection has come."""

    GREETING = auto()
    """Connected; the worker says hello first."""
    GREETED = auto()
    """Versions agree; the front end sends the model to load."""
    LOADING = auto()
    """The worker is loading."""
    SERVING = auto()
    """Batches travel."""
    CLOSING = auto()
    """The front end asked for the end; what was sent before is still answered."""
    FAILED = auto()
    """The model could not be loaded; the worker closes."""

    __hash__ = object.__hash__


_S: Final = ChannelState

TRANSITIONS: Final[dict[ChannelState, dict[tuple[Side, type[Any]], ChannelState]]] = {
    _S.GREETING: {
        (Side.WORKER, Hello): _S.GREETED,
    },
    _S.GREETED: {
        (Side.FRONT_END, Load): _S.LOADING,
        (Side.FRONT_END, Shutdown): _S.CLOSING,
    },
    _S.LOADING: {
        (Side.WORKER, Loaded): _S.SERVING,
        (Side.WORKER, LoadFailure): _S.FAILED,
        (Side.WORKER, Metrics): _S.LOADING,
        (Side.FRONT_END, Shutdown): _S.CLOSING,
    },
    _S.SERVING: {
        (Side.FRONT_END, Predict): _S.SERVING,
        (Side.FRONT_END, Cancel): _S.SERVING,
        (Side.FRONT_END, Ping): _S.SERVING,
        (Side.FRONT_END, Shutdown): _S.CLOSING,
        (Side.WORKER, Result): _S.SERVING,
        (Side.WORKER, Chunk): _S.SERVING,
        (Side.WORKER, Failure): _S.SERVING,
        (Side.WORKER, Done): _S.SERVING,
        (Side.WORKER, Metrics): _S.SERVING,
        (Side.WORKER, Pong): _S.SERVING,
    },
    _S.CLOSING: {
        # Crossed on the wire with Shutdown, or the answer to what was sent before it.
        (Side.WORKER, Loaded): _S.CLOSING,
        (Side.WORKER, LoadFailure): _S.FAILED,
        (Side.WORKER, Result): _S.CLOSING,
        (Side.WORKER, Chunk): _S.CLOSING,
        (Side.WORKER, Failure): _S.CLOSING,
        (Side.WORKER, Done): _S.CLOSING,
        (Side.WORKER, Metrics): _S.CLOSING,
        (Side.WORKER, Pong): _S.CLOSING,
        (Side.FRONT_END, Cancel): _S.CLOSING,
    },
    _S.FAILED: {
        (Side.FRONT_END, Shutdown): _S.FAILED,
    },
}


class Channel:
    """One end's view of the state of one connection."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = ChannelState.GREETING

    def step(self, sender: Side, frame: Frame) -> None:
        """Account for a frame that is about to be sent, or that was received.

        Raises:
            ProtocolError: the sender must not send this frame now.
        """
        state = TRANSITIONS[self.state].get((sender, type(frame)))
        if state is None:
            msg = f"{type(frame).__name__} from {sender.name} in state {self.state.name}"
            raise ProtocolError(msg)
        self.state = state
