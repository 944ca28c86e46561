"""Worker life cycle as a transition table, no I/O.

Theory of operation. A `Worker` tells this table what happened; the table answers with the next
state or refuses. ``docs/states.md`` is drawn from it. ``SERVING`` covers idle and busy: which of
the two is the number of batches in flight, and changes too often to be a state of its own.

Rules for editing: no transition exists outside of this table.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class WorkerState(Enum):
    """Where a worker is in its life."""

    STARTING = auto()
    """The process is being started; it has not said hello yet."""
    LOADING = auto()
    """The handler is being loaded."""
    SERVING = auto()
    """Batches may be sent."""
    STOPPING = auto()
    """Told to stop; batches in flight are still answered."""
    WAITING = auto()
    """Dead; a restart is scheduled."""
    ABANDONED = auto()
    """Dead, and given up after ``maxRetryTimeoutInSec``."""
    STOPPED = auto()
    """Gone, as asked."""


class WorkerEvent(Enum):
    """What can happen to a worker."""

    GREETED = auto()
    LOADED = auto()
    STOP = auto()
    GONE = auto()
    """The process has ended, whatever the reason."""
    RETRY = auto()
    GIVE_UP = auto()


class InvalidTransition(Exception):
    """The table has no such transition: a bug of ours."""


_S: Final = WorkerState
_E: Final = WorkerEvent

TRANSITIONS: Final[dict[tuple[WorkerState, WorkerEvent], WorkerState]] = {
    (_S.STARTING, _E.GREETED): _S.LOADING,
    (_S.LOADING, _E.LOADED): _S.SERVING,
    (_S.STARTING, _E.STOP): _S.STOPPING,
    (_S.LOADING, _E.STOP): _S.STOPPING,
    (_S.SERVING, _E.STOP): _S.STOPPING,
    (_S.WAITING, _E.STOP): _S.STOPPED,
    (_S.ABANDONED, _E.STOP): _S.STOPPED,
    (_S.STARTING, _E.GONE): _S.WAITING,
    (_S.LOADING, _E.GONE): _S.WAITING,
    (_S.SERVING, _E.GONE): _S.WAITING,
    (_S.STOPPING, _E.GONE): _S.STOPPED,
    (_S.WAITING, _E.RETRY): _S.STARTING,
    (_S.WAITING, _E.GIVE_UP): _S.ABANDONED,
}


def next_state(state: WorkerState, event: WorkerEvent) -> WorkerState:
    """The state that follows.

    Raises:
        InvalidTransition: the table does not know this event in this state.
    """
    following = TRANSITIONS.get((state, event))
    if following is None:
        msg = f"{event.name} in state {state.name}"
        raise InvalidTransition(msg)
    return following
