"""What is measured, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..server import Model

STREAM_CHUNKS: Final = 100
STREAM_TEXT: Final = b"token "
SMALL: Final = b"hello world"
BATCH_DELAY_MS: Final = 1

_KIB: Final = 1024
_MIB: Final = 1024 * 1024


class Ceiling(Enum):
    """What bare httptools on uvloop answers, as the upper limit of a scenario."""

    CONSTANT = "constant"
    """The same small answer to everybody."""
    ECHO = "echo"
    """The request's body."""
    CHUNKS = "chunks"
    """A whole stream, written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of traffic.

    Attributes:
        name: as the command line and the tables have it.
        model: who answers.
        body: of each request.
        answer: of each response; streams are compared without their chunk boundaries.
        ceiling: what to compare with.
        unit: what is counted.
        per_request: how many of it one request is worth.
        is_stream: driven by our own client instead of wrk.
        max_clients: more of them are left out: they would measure memory.
    """

    name: str
    model: Model
    body: bytes = SMALL
    answer: bytes = SMALL
    ceiling: Ceiling = Ceiling.CONSTANT
    unit: str = "req/s"
    per_request: float = 1.0
    is_stream: bool = False
    max_clients: int = 1024


_ONE: Final = Model("b1", "echo.py")
_MANY: Final = Model("b32", "echo.py", {"batchSize": 32, "maxBatchDelay": BATCH_DELAY_MS})
_STREAM: Final = Model("stream", "stream.py")

SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="echo-b1", model=_ONE),
        Scenario(name="echo-b32", model=_MANY),
        Scenario(
            name="stream",
            model=_STREAM,
            answer=STREAM_TEXT * STREAM_CHUNKS,
            ceiling=Ceiling.CHUNKS,
            unit="chunks/s",
            per_request=STREAM_CHUNKS,
            is_stream=True,
            max_clients=64,
        ),
        Scenario(
            name="body-64k",
            model=_ONE,
            body=b"x" * 64 * _KIB,
            answer=b"x" * 64 * _KIB,
            ceiling=Ceiling.ECHO,
            unit="MB/s",
            per_request=64 * _KIB / 1e6,
            max_clients=64,
        ),
        Scenario(
            name="body-1m",
            model=_ONE,
            body=b"x" * _MIB,
            answer=b"x" * _MIB,
            ceiling=Ceiling.ECHO,
            unit="MB/s",
            per_request=_MIB / 1e6,
            max_clients=64,
        ),
    )
}
