"""What does a request cost the front end in Python, without sockets and without a worker?

64 connections send what wrk sends; a channel of the pool answers every batch with an echo. Both
ends are memory, so what is left is our own code (and httptools, msgpack).
"""

# ruff: noqa: SLF001  (the path is cut out of the server by hand)

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any, Final, cast

from tsl.frontend.access_log import AccessLog
from tsl.frontend.batching import BatchQueue
from tsl.frontend.http_api.clock import Clock
from tsl.frontend.http_api.connection import HttpConnection
from tsl.frontend.http_api.context import HttpContext, HttpLimits
from tsl.frontend.http_api.inference import InferenceApi
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.line_log import LineLog
from tsl.frontend.metrics import ModelMetricsLog, ServerStats
from tsl.frontend.registry import ModelRegistry, ServedModel
from tsl.frontend.worker import Worker
from tsl.frontend.worker_channel import ChannelOwner, WorkerChannel
from tsl.frontend.worker_pool import WorkerPool
from tsl.model_store import ModelVersion
from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.frames import (
    PROTOCOL_VERSION,
    Buffer,
    Hello,
    Load,
    Loaded,
    Predict,
    Reply,
    Result,
)

from ..report import table
from .http_parse import WRK

CLIENTS: Final = 64
ROUNDS: Final = 1500


class _Client:
    """A transport that counts what is written to it."""

    def __init__(self) -> None:
        self.answers = 0

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def write(self, data: Buffer) -> None:
        del data
        self.answers += 1


class _WorkerEnd:
    """A transport whose other end is an echo."""

    def __init__(self) -> None:
        self._unread: list[Buffer] = []
        self._decoder = FrameDecoder()

    def write(self, data: Buffer) -> None:
        self._unread.append(data)

    def writelines(self, buffers: list[Buffer]) -> None:
        self._unread += buffers

    def take(self) -> list[Predict]:
        """The batches that have come since the last time."""
        data, self._unread = b"".join(self._unread), []
        return [f for f in self._decoder.feed(data) if isinstance(f, Predict)]


class _Owner(ChannelOwner):
    """A worker, as its channel and its pool see it."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.channel: WorkerChannel | None = None
        self.plan = type("Plan", (), {"load": type("Load", (), {"model_name": "b1"})})

    def on_loaded(self, load_ms: float) -> None:
        del load_ms

    def on_load_failed(self, code: str, reason: str) -> None:
        raise AssertionError(code, reason)

    def on_free(self, batch: Any, service_us: int | None) -> None:
        self.pool.worker_free(cast("Worker", self), batch, service_us)

    def on_metrics(self, records: Any) -> None:
        raise AssertionError(records)

    def on_channel_lost(self) -> None:
        raise AssertionError


class _Loop:
    """Runs callbacks when it is told to."""

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, callback: Any) -> None:
        self.soon.append(callback)

    def run(self) -> None:
        while self.soon:
            self.soon.pop(0)()


class FrontEnd:
    """The path of a request, with memory at both ends."""

    def __init__(self, batch_size: int) -> None:
        queue = BatchQueue(
            capacity=1000, capacity_bytes=1 << 30, batch_size=batch_size, max_delay_s=1.0
        )
        self.log = log = LineLog(None, console=False)
        self.pool = WorkerPool("b1", queue, cast("Any", None), 120.0, ModelMetricsLog(log))
        self.pool.can_serve = True
        owner = _Owner(self.pool)
        self.loop = _Loop()
        self.end = _WorkerEnd()
        load = Load("b1", "", "", "", batch_size, -1, True, 1 << 20, True, "")
        self.channel = WorkerChannel(lambda channel, hello: (owner, load, 1 << 30))
        self.channel.connection_made(cast("asyncio.BaseTransport", self.end))
        self.channel._loop = cast("Any", self.loop)
        self._from_worker(Hello(PROTOCOL_VERSION, "w", "t", 1), Loaded(1.0))
        owner.channel = self.channel
        self.pool._serving = [self.channel]
        self.pool._idle.append(cast("Worker", owner))
        registry = ModelRegistry()
        version = type("V", (), {"name": "b1", "version": "1.0"})
        registry.add(ServedModel(cast("ModelVersion", version), self.pool, 0.0))
        api = InferenceApi(registry)
        context = HttpContext(
            router=Router([Route(path="/predictions/{model_name}", methods={"*": api.predict})]),
            limits=HttpLimits(),
            clock=Clock(),
            stats=ServerStats(),
            access_log=AccessLog(log),
            connections=set(),
        )
        self.clients = [_Client() for _ in range(CLIENTS)]
        self.connections = [HttpConnection(context) for _ in self.clients]
        for connection, client in zip(self.connections, self.clients, strict=True):
            connection.connection_made(cast("asyncio.BaseTransport", client))

    def _from_worker(self, *frames: Any) -> None:
        self.channel.data_received(b"".join(bytes(b) for frame in frames for b in encode(frame)))
        self.loop.run()

    def ask(self) -> None:
        """Every client sends a request."""
        for connection in self.connections:
            connection.data_received(WRK)
        self.loop.run()

    def answers(self) -> list[bytes]:
        """What the worker says to all that it was sent."""
        return [
            b"".join(
                bytes(buffer)
                for buffer in encode(
                    Result(
                        batch.batch_id,
                        30,
                        [Reply(0, "", [], "", row.parts[0].body) for row in batch.rows],
                    )
                )
            )
            for batch in self.end.take()
        ]

    def answer(self, frames: list[bytes]) -> None:
        """The worker's answers arrive."""
        for frame in frames:
            self.channel.data_received(frame)
        self.loop.run()


async def measure(batch_size: int) -> tuple[float, float]:
    """Microseconds per request of both ways, the least of many rounds."""
    front_end = FrontEnd(batch_size)
    asking: list[float] = []
    answering: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        front_end.ask()
        asking.append(time.perf_counter() - began)
        while frames := front_end.answers():
            began = time.perf_counter()
            front_end.answer(frames)
            answering.append((time.perf_counter() - began) * CLIENTS / (len(frames) * batch_size))
        front_end.log._lines.clear()
    assert {client.answers for client in front_end.clients} == {ROUNDS}
    return min(asking) / CLIENTS * 1e6, min(answering) / CLIENTS * 1e6


async def main() -> None:
    """Print the times per request."""
    gc.collect()
    gc.freeze()
    gc.disable()
    rows = []
    for batch_size in (1, 32):
        there, back = await measure(batch_size)
        rows.append([str(batch_size), f"{there:.2f}", f"{back:.2f}", f"{there + back:.2f}"])
    print(table(["batch size", "request, µs", "answer, µs", "both, µs"], rows))


if __name__ == "__main__":
    asyncio.run(main())
