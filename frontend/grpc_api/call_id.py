"""The id of a gRPC call, as HTTP requests have one: in its log lines, and given to its job.

A call's first job has the id of the call. Further ones, of a stream of requests, have ids of their
own, because a batch may hold several of them.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from ..http_api.request_ids import new_request_id


class CallId:
    """One call's id."""

    __slots__ = ("_is_taken", "text")

    def __init__(self) -> None:
        self.text = new_request_id()
        self._is_taken = False

    def take(self) -> str:
        """The id for a job of this call."""
        if self._is_taken:
            return new_request_id()
        self._is_taken = True
        return self.text


_current: Final[ContextVar[CallId]] = ContextVar("call_id")


def begin_call() -> CallId:
    """Make the id of a call; its task, and tasks made from there, know it from now on."""
    call_id = CallId()
    _current.set(call_id)
    return call_id


def new_job_id() -> str:
    """The id for a job of the call that is being served."""
    return _current.get().take()
