"""What does a request cost the front end in Python, without sockets and without a worker?

64 connections send what wrk sends, a token with it; a channel of the pool answers every batch with an
echo. Both ends are memory, so what is left is our own code (and httptools, msgpack). Metrics and logs
are as by default. The same for 256 numbers by the Open Inference Protocol, as JSON and as bytes.
"""

# ruff: noqa: SLF001  (the path is cut out of the server by hand)

from __future__ import annotations

import asyncio
import gc
import json
import struct
import tempfile
import time
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

from tsl.frontend.auth import Authorizer, Permission
from tsl.frontend.batch_pool import BatchPool
from tsl.frontend.batching import BatchQueue
from tsl.frontend.busy_loop import BusyLoop
from tsl.frontend.config import ServerConfig
from tsl.frontend.http_api.clock import Clock
from tsl.frontend.http_api.connection import HttpConnection
from tsl.frontend.http_api.context import HttpContext, HttpLimits
from tsl.frontend.http_api.guard import guarded
from tsl.frontend.http_api.inference import InferenceApi
from tsl.frontend.http_api.open_inference import OpenInferenceApi
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.logs.access_log import AccessLog
from tsl.frontend.logs.fields import ACCESS
from tsl.frontend.logs.line_log import LineWriter
from tsl.frontend.logs.settings import LogSettings
from tsl.frontend.loop_turn import LoopTurn
from tsl.frontend.measuring import Measuring
from tsl.frontend.open_inference import OpenInference
from tsl.frontend.open_inference_parameters import SequenceNames
from tsl.frontend.registry import ModelRegistry, ServedModel
from tsl.frontend.shared_memory import SharedMemory
from tsl.frontend.worker import Worker
from tsl.frontend.worker_channel import ChannelOwner, WorkerChannel
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

from ..peers.encodings import HEAD_SIZE, binary_request
from ..report import table

CLIENTS: Final = 64
TOKEN: Final = "aB3dE6gH" * 4
ROUNDS: Final = 1500


class Traffic(NamedTuple):
    """What is asked and answered.

    Attributes:
        request: as wrk sends it.
        headers: that the worker sets for an answer.
        body: of an answer; None for that of the request.
    """

    request: bytes
    headers: list[str]
    body: bytes | None


def _request(target: str, body: bytes, content_type: str, *more: str) -> bytes:
    lines = [
        f"POST {target} HTTP/1.1",
        "Host: 127.0.0.1:8080",
        f"Content-Type: {content_type}",
        *more,
        f"Authorization: Bearer {TOKEN}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _tensors() -> tuple[Traffic, Traffic]:
    numbers = [float(number) for number in range(256)]
    raw = struct.pack("<256f", *numbers)
    tensor: dict[str, Any] = {"name": "INPUT0", "shape": [1, 256], "datatype": "FP32"}
    head = {"model_name": "b1", "model_version": "1.0"}
    output = {**tensor, "name": "OUTPUT0"}
    size = {"parameters": {"binary_data_size": len(raw)}}
    texts = [
        json.dumps({**head, "outputs": [{**output, **values}]}, separators=(",", ":")).encode()
        for values in ({"data": numbers}, size)
    ]
    asked = json.dumps({"inputs": [{**tensor, "data": numbers}]}).encode()
    target, length = "/v2/models/b1/infer", "Inference-Header-Content-Length"
    octets = "application/octet-stream"
    return Traffic(
        _request(target, asked, "application/json"), ["content-type", "application/json"], texts[0]
    ), Traffic(
        _request(target, binary_request("FP32", [1, 256], raw), octets, f"{length}: {HEAD_SIZE}"),
        [length, str(len(texts[1])), "content-type", octets],
        texts[1] + raw,
    )


WRK: Final = _request("/predictions/b1", b"hello world", "application/octet-stream")
_JSON, _BINARY = _tensors()
TRAFFIC: Final = {"echo": Traffic(WRK, [], None), "tensors": _BINARY, "JSON": _JSON}


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

    def get_extra_info(self, name: str) -> _WorkerEnd:
        del name
        return self

    def setsockopt(self, *option: int) -> None:
        """It takes all there is."""

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

    def __init__(self, pool: BatchPool) -> None:
        self.pool = pool
        self.channel: WorkerChannel | None = None
        self.plan = type("Plan", (), {"load": type("Load", (), {"model_name": "b1"})})

    def on_loaded(self, load_ms: float) -> None:
        del load_ms

    def on_load_failed(self, code: str, reason: str) -> None:
        raise AssertionError(code, reason)

    def on_free(self, batch: Any, service_us: int | None) -> None:
        self.pool.worker_free(cast("Worker", self), batch, service_us)

    def on_done(self, batch_id: int) -> None:
        raise AssertionError(batch_id)

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

    def __init__(self, traffic: Traffic, batch_size: int, folder: str) -> None:
        self._traffic = traffic
        queue = BatchQueue(
            capacity=1000, capacity_bytes=1 << 30, batch_size=batch_size, max_delay_s=1.0
        )
        config = ServerConfig.load(None, {"LOG_LOCATION": folder, "METRICS_LOCATION": folder}, {})
        settings, lines = LogSettings.of(config), LineWriter(console=False)
        registry = ModelRegistry()
        measuring = Measuring(config, settings, lines, registry, ())
        self.pool = BatchPool(
            "b1", queue, cast("Any", None), 120.0, measuring.handlers.of("b1", "1.0")
        )
        self.pool.can_serve = True
        owner = _Owner(self.pool)
        self.loop = _Loop()
        self.end = _WorkerEnd()
        load = Load("b1", "", "", "", batch_size, -1, True, 1 << 20, True, "")
        turn = LoopTurn(self.loop.call_soon)
        self.channel = WorkerChannel(
            lambda channel, hello: (owner, load, 1 << 30), turn, BusyLoop()
        )
        self.channel.connection_made(cast("asyncio.BaseTransport", self.end))
        self._from_worker(Hello(PROTOCOL_VERSION, "w", "t", 1), Loaded(1.0))
        owner.channel = self.channel
        self.pool._serving = [self.channel]
        self.pool._idle.append(cast("Worker", owner))
        settled = SimpleNamespace(input_format="tensors", sequence_batching=False)
        version = SimpleNamespace(name="b1", version="1.0", config=settled)
        registry.add(ServedModel(cast("ModelVersion", version), self.pool, 0.0))
        api = InferenceApi(registry)
        protocol = OpenInference(registry, SharedMemory())
        tensors = OpenInferenceApi(registry, protocol, SequenceNames("id", "start", "end"))
        authorizer = Authorizer(
            lifetime_s=3600,
            fixed={Permission.INFERENCE: TOKEN},
            save=lambda document: None,
            stats=measuring.stats,
        )
        routes = [
            Route(path="/predictions/{model_name}", methods={"*": api.predict}),
            Route(path="/v2/models/{model_name}/infer", methods={"POST": tensors.infer}),
        ]
        access = settings.open_lines(ACCESS, lines)
        assert access is not None
        context = HttpContext(
            router=Router(guarded(routes, authorizer, Permission.INFERENCE)),
            limits=HttpLimits(),
            clock=Clock(),
            stats=measuring.stats,
            access_log=AccessLog(access.add),
            connections=set(),
            turn=turn,
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
            connection.data_received(self._traffic.request)
        self.loop.run()

    def answers(self) -> list[bytes]:
        """What the worker says to all that it was sent."""
        return [
            b"".join(map(bytes, encode(Result(batch.batch_id, 30, self._replies(batch)))))
            for batch in self.end.take()
        ]

    def _replies(self, batch: Predict) -> list[Reply]:
        _, headers, body = self._traffic
        return [
            Reply(0, "", headers, "", row.parts[0].body if body is None else body)
            for row in batch.rows
        ]

    def answer(self, frames: list[bytes]) -> None:
        """The worker's answers arrive."""
        for frame in frames:
            self.channel.data_received(frame)
        self.loop.run()


async def measure(kind: str, batch_size: int, rounds: int = ROUNDS) -> tuple[float, float]:
    """Microseconds per request of both ways, the least of many rounds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return await _measure(FrontEnd(TRAFFIC[kind], batch_size, folder), batch_size, rounds)


async def _measure(front_end: FrontEnd, batch_size: int, rounds: int) -> tuple[float, float]:
    asking: list[float] = []
    answering: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        front_end.ask()
        asking.append(time.perf_counter() - began)
        while frames := front_end.answers():
            began = time.perf_counter()
            front_end.answer(frames)
            answering.append((time.perf_counter() - began) * CLIENTS / (len(frames) * batch_size))
        await asyncio.sleep(0)
    assert {client.answers for client in front_end.clients} == {rounds}
    return min(asking) / CLIENTS * 1e6, min(answering) / CLIENTS * 1e6


async def main() -> None:
    """Print the times per request."""
    gc.collect()
    gc.freeze()
    gc.disable()
    rows = []
    for kind, batch_size in (("echo", 1), ("echo", 32), ("tensors", 32), ("JSON", 32)):
        there, back = await measure(kind, batch_size)
        cells = [kind, str(batch_size), f"{there:.2f}", f"{back:.2f}", f"{there + back:.2f}"]
        rows.append(cells)
    print(table(["", "batch size", "request, µs", "answer, µs", "both, µs"], rows))


if __name__ == "__main__":
    asyncio.run(main())
