"""What a starting server tells the command line: addresses, models and their states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

ModelState: TypeAlias = Literal["loading", "ready", "failed", "no workers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """State of one model version.

    Attributes:
        name: model name.
        version: model version.
        state: ``failed`` when the archive cannot be used or no worker can load the handler.
        workers_ready: workers that serve.
        workers_wanted: workers there should be.
        reason: why it failed, one line; "" otherwise.
        load_s: seconds from start to the first ready worker; 0.0 when there is none.
    """

    name: str
    version: str
    state: ModelState
    workers_ready: int = 0
    workers_wanted: int = 0
    reason: str = ""
    load_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    """What is being served, and where.

    Attributes:
        inference: address of the inference API, as a client writes it (``http://127.0.0.1:8080``).
        management: address of the management API.
        metrics: address of the metrics API, "" when it is off.
        models: every model version that was asked for at start.
        grpc: ``host:port`` of the gRPC inference and management APIs; empty when they are off.
    """

    inference: str
    management: str
    metrics: str
    models: tuple[ModelReport, ...]
    grpc: tuple[str, ...] = ()


class Reporter(Protocol):
    """Receives the two moments of a start; called on the event loop, must not block."""

    def listening(self, report: StartReport) -> None:
        """The listeners are open; models may still be loading."""

    def settled(self, report: StartReport) -> None:
        """Every model that was asked for at start is ready or has failed."""
