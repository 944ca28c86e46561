"""What a scenario is: something to serve, points at which it is measured, and figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..load.h2load import run_h2load
from ..load.open_loop import run_open_loop
from ..load.samples import Load, percentiles
from ..load.stream_client import run_streams
from ..load.wrk import run_wrk
from ..peers.base import HOST, Answer, Running, Service, Work
from ..work import TEXT

_PREFIX_BYTES = 5
"""Before each message of gRPC."""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table.

    Attributes:
        key: in the kept numbers.
        heading: of the column.
        digits: after the point.
        factor: from the kept unit to the shown one.
    """

    key: str
    heading: str
    digits: int = 0
    factor: float = 1.0


class Drive(Protocol):
    """Puts load on a server."""

    def __call__(
        self, running: Running, scenario: Steady, at: float, seconds: float, folder: Path
    ) -> Load:
        """Measure once.

        Args:
            running: the server.
            scenario: what is asked.
            at: the point: clients, rate, ...
            seconds: for how long.
            folder: for files.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Load on servers that go on running, by turns.

    Attributes:
        name: as the command line and the files have it.
        title: heading of its table.
        service: what is served.
        body: of each request, at a point.
        right: whether an answer is right.
        expected: of answers that are known byte by byte, for the open loop.
        axis: what the points are.
        points: where it is measured.
        quick: where it is measured by the quick profile.
        drive: how load is made.
        columns: of its table; the first is the one that is compared with the ceiling.
        clients: when the points are something else.
        headers: of each request, besides the server's own.
        least_seconds: that a measurement takes, so that enough is answered.
        peers: who takes part; () for all that can.
        method: of gRPC, whose messages the bodies are; "" for HTTP.
    """

    name: str
    title: str
    service: Service
    body: Callable[[float], bytes]
    right: Callable[[bytes, float], bool]
    axis: str = "clients"
    points: Sequence[float] = (1, 16, 64, 256)
    quick: Sequence[float] = (1, 64)
    drive: Drive
    columns: Sequence[Column]
    clients: int = 16
    headers: Mapping[str, str] = field(default_factory=dict)
    least_seconds: float = 1.0
    peers: Sequence[str] = ()
    method: str = ""

    def ask(self, running: Running, body: bytes) -> Answer:
        """One answer of a server."""
        if self.method:
            return running.call(self.method, body)
        return running.ask(body, self.headers)

    @property
    def has_model(self) -> bool:
        """Whether its ceiling is a model in a plain loop."""
        return self.service.work is Work.CLASSIFY

    def clients_at(self, at: float) -> int:
        """How many there are at a point."""
        return int(at) if self.axis == "clients" else self.clients


_MS = 1e-3
RATE = Column("rate", "requests/s")
P50 = Column("p50_us", "p50 ms", 2, _MS)
P99 = Column("p99_us", "p99 ms", 2, _MS)
CPU = Column("cpu_us", "CPU µs per request")
PSS = Column("pss_mb", "memory MB (PSS)")
CLOSED = (RATE, P50, P99, CPU, PSS)


def closed_loop(
    running: Running, scenario: Steady, at: float, seconds: float, folder: Path
) -> Load:
    """So many clients, each of which asks again when it has its answer: wrk."""
    body = scenario.body(at)
    file = folder / "body"
    file.write_bytes(running.launch.encode(body))
    return run_wrk(
        running.url,
        file,
        running.answer_size,
        clients=scenario.clients_at(at),
        seconds=seconds,
        headers={**running.headers(), **scenario.headers},
        is_slow=scenario.has_model,
    )


def grpc_calls(running: Running, scenario: Steady, at: float, seconds: float, folder: Path) -> Load:
    """So many clients with a connection each, which call again when they have their answer: h2load."""
    message = scenario.body(at)
    file = folder / "message"
    file.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    calls = run_h2load(
        f"http://{HOST}:{running.launch.grpc_port}{scenario.method}",
        file,
        running.answer_size + _PREFIX_BYTES,
        clients=scenario.clients_at(at),
        streams=1,
        seconds=seconds,
        headers=running.metadata(),
        log=folder / "times",
    )
    return Load(calls.count, calls.rate, *percentiles(calls.times_us), calls.errors)


def open_loop(running: Running, scenario: Steady, at: float, seconds: float, folder: Path) -> Load:
    """A fixed number of requests per second."""
    del folder
    body = scenario.body(at)
    return run_open_loop(
        HOST,
        running.launch.port,
        running.launch.path,
        body=running.launch.encode(body),
        expected=body,
        rate=at,
        connections=64,
        seconds=seconds,
        headers={**running.headers(), **scenario.headers},
    )


def streams(running: Running, scenario: Steady, at: float, seconds: float, folder: Path) -> Load:
    """So many clients that read streams."""
    del folder
    body = scenario.body(at)
    return run_streams(
        HOST,
        running.launch.port,
        running.launch.path,
        body=running.launch.encode(body),
        text=TEXT.encode(),
        count=int(body),
        clients=scenario.clients_at(at),
        seconds=seconds,
        headers={**running.headers(), **scenario.headers},
    )


def same_bytes(body: bytes) -> Callable[[bytes, float], bool]:
    """For echoes."""
    return lambda answer, _: answer == body


def near(expected: dict[str, float], tolerance: float) -> Callable[[bytes, float], bool]:
    """For the classifier: the same classes with nearly the same probabilities."""

    def right(answer: bytes, at: float) -> bool:
        del at
        said = json.loads(answer)
        return said.keys() == expected.keys() and all(
            abs(said[name] - value) <= tolerance for name, value in expected.items()
        )

    return right
