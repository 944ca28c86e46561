"""The status codes of gRPC."""

from __future__ import annotations

from enum import IntEnum

from tsl.protocol.errors import TslError


class StatusCode(IntEnum):
    """How a call ended; the names are those of ``TslError.grpc_name``."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallError(Exception):
    """A call that is refused for what it is on the wire; no error of the server's own tree.

    Args:
        code: of gRPC.
        text: what happened, and what to do.
    """

    def __init__(self, code: StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def status_of(error: TslError) -> StatusCode:
    """The gRPC status of an error."""
    return StatusCode[error.grpc_name]
