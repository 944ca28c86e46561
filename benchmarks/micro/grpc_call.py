"""What does a gRPC call cost the front end in Python, without sockets, queues and workers?

A client's bytes go in as ``h2load`` sends them; the model answers at once. What is left is HTTP/2,
the messages, and the way to a job and back.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, Final, cast

import hpack

from tsl.frontend.grpc_api.inference import InferenceService
from tsl.frontend.grpc_api.protos.inference_pb2 import DESCRIPTOR, PredictionsRequest
from tsl.frontend.grpc_api.service import methods_of
from tsl.frontend.grpc_api.session import ServedMethods, Session
from tsl.frontend.http2 import frames
from tsl.frontend.http2.application import Http2Limits
from tsl.frontend.http2.connection import Http2Connection
from tsl.frontend.jobs import Job
from tsl.frontend.logs.access_log import AccessLog
from tsl.frontend.open_inference_parameters import SequenceNames
from tsl.protocol.frames import Reply

BATCH: Final = 32
ROUNDS: Final = 200
PATH: Final = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"


class Pool:
    """Answers every job with its input."""

    def submit(self, job: Job) -> None:
        """Answer."""
        job.finish(Reply(200, "", [], "", job.row[3][0][2]))


class Nothing:
    """Takes every call."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def connection() -> Http2Connection[Any]:
    """A connection to a server with one model."""
    config = SimpleNamespace(sequence_batching=False)
    version = SimpleNamespace(config=config)
    served = SimpleNamespace(client_timeout_s=0.0, pool=Pool(), version=version)
    registry = cast("Any", SimpleNamespace(get=lambda name, version: served))
    service = InferenceService(registry, cast("Any", Nothing()), SequenceNames("a", "b", "c"))
    methods = methods_of(DESCRIPTOR.services_by_name["InferenceAPIsService"], service)
    shared = ServedMethods(
        methods,
        {},
        guard=lambda key, peer: None,
        log=AccessLog(lambda line: None),
        max_message_bytes=1_000_000,
        max_metadata_bytes=16_384,
    )
    transport = cast("Any", SimpleNamespace(peer=b"/127.0.0.1:5000", core=None))
    core: Http2Connection[Any] = Http2Connection(
        Session(shared, transport), lambda data: None, Http2Limits()
    )
    transport.core = core
    core.start()
    core.receive(frames.PREFACE + frames.settings({}))
    return core


def calls(numbers: range, encoder: hpack.Encoder, *, timeout: bool = False) -> bytes:
    """The frames of some calls."""
    message = PredictionsRequest(model_name="echo", input={"data": b"x" * 100})
    body = message.SerializeToString()
    body = b"\0" + len(body).to_bytes(4, "big") + body
    data = []
    for number in numbers:
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", "127.0.0.1:7070"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-python/1.70.0 grpc-c/45.0.0 (linux; chttp2)"),
        ]
        if timeout:
            fields.append(("grpc-timeout", f"{10_000_000 + number}u"))
        data.append(frames.headers(number, encoder.encode(fields), ends=False, max_frame=16384))
        data.append(frames.head(len(body), frames.DATA, frames.END_STREAM, number) + body)
        core_window = frames.window_update(0, len(body) * 2)
        if number % 64 == 1:
            data.append(core_window)
    return b"".join(data)


def per_call_us(*, timeout: bool = False) -> float:
    """The least of many batches."""
    encoder = hpack.Encoder()
    core = connection()
    core.receive(frames.window_update(0, 2**30))
    batches = [
        calls(range(1 + 2 * BATCH * i, 1 + 2 * BATCH * (i + 1), 2), encoder, timeout=timeout)
        for i in range(ROUNDS)
    ]
    least = 1e9
    for batch in batches:
        begin = time.perf_counter()
        core.receive(batch)
        least = min(least, time.perf_counter() - begin)
    assert not core.is_failed
    assert not core.streams
    return least / BATCH * 1e6


if __name__ == "__main__":
    print(f"a call like the one before: {per_call_us():.1f} µs")
    print(f"with a deadline of its own: {per_call_us(timeout=True):.1f} µs")
