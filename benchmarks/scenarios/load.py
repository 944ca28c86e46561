"""Load on servers that go on running, as data."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Final

from tsl.frontend.grpc_api.protos.open_inference_pb2 import ModelInferRequest, ModelInferResponse

from ..archives import picture
from ..peers.base import Service, Work
from ..peers.encodings import HEAD_SIZE, binary_request, binary_values
from ..peers.tensor_servers import BINARY_HEAD
from ..work import TEXT
from .base import (
    CLOSED,
    CPU,
    P50,
    P99,
    PSS,
    RATE,
    Column,
    Steady,
    closed_loop,
    grpc_calls,
    near,
    open_loop,
    same_bytes,
    streams,
)

SMALL: Final = b"hello world"
CHUNKS: Final = 100
CLASSES: Final = {
    "tiger cat": 0.388,
    "Egyptian cat": 0.352,
    "tabby": 0.169,
    "lynx": 0.019,
    "window screen": 0.001,
}
NUMBERS: Final = tuple(float(number) for number in range(256))
_US: Final = 1e-3


def _small(at: float) -> bytes:
    del at
    return SMALL


def _picture(at: float) -> bytes:
    del at
    return picture()


def _sized(at: float) -> bytes:
    return b"x" * int(at)


def _chunks(at: float) -> Callable[[bytes], bool]:
    return lambda answer: answer.count(TEXT.encode()) == at


VALUES: Final = struct.pack(f"<{len(NUMBERS)}f", *NUMBERS)
_BINARY: Final = binary_request("FP32", [1, len(NUMBERS)], VALUES)
_JSON: Final = json.dumps(
    {
        "inputs": [
            {
                "name": "INPUT0",
                "shape": [1, len(NUMBERS)],
                "datatype": "FP32",
                "data": NUMBERS,
            }
        ]
    }
).encode()


def _same_numbers(answer: bytes, at: float) -> bool:
    del at
    document = json.loads(answer)
    return bool(tuple(document["outputs"][0]["data"]) == NUMBERS)


_MESSAGE: Final = ModelInferRequest(
    model_name="model",
    inputs=[{"name": "INPUT0", "datatype": "FP32", "shape": [1, len(NUMBERS)]}],
    raw_input_contents=[VALUES],
).SerializeToString()


def _same_values(answer: bytes, at: float) -> bool:
    del at
    return list(ModelInferResponse.FromString(answer).raw_output_contents) == [VALUES]


_STREAM_COLUMNS: Final = (
    Column("chunks", "chunks/s"),
    Column("first50_us", "first chunk p50 ms", 2, _US),
    Column("first99_us", "first chunk p99 ms", 2, _US),
    Column("gap99_us", "gap p99 ms", 2, _US),
    CPU,
)

STEADY: Final = (
    Steady(
        name="echo-b1",
        title="Echo, batch size 1",
        service=Service(),
        body=_small,
        right=same_bytes(SMALL),
        drive=closed_loop,
        columns=CLOSED,
    ),
    Steady(
        name="echo-b32",
        title="Echo, batch size 32, 1 ms delay",
        service=Service(batch_size=32, delay_ms=1),
        body=_small,
        right=same_bytes(SMALL),
        drive=closed_loop,
        columns=CLOSED,
    ),
    Steady(
        name="open",
        title="Echo at fixed rates, batch size 1",
        service=Service(),
        body=_small,
        right=same_bytes(SMALL),
        axis="requests/s",
        points=(500, 1000, 2000, 4000, 8000),
        quick=(500, 2000),
        drive=open_loop,
        columns=(P99, P50, Column("max_us", "longest ms", 1, _US), RATE, CPU),
    ),
    Steady(
        name="classify-b1",
        title="The demo's classifier, batch size 1",
        service=Service(work=Work.CLASSIFY),
        body=_picture,
        right=near(CLASSES, 0.01),
        least_seconds=3.0,
        points=(1, 16),
        quick=(16,),
        drive=closed_loop,
        columns=CLOSED,
    ),
    Steady(
        name="classify-b8",
        title="The demo's classifier, batch size 8, 5 ms delay",
        service=Service(work=Work.CLASSIFY, batch_size=8, delay_ms=5),
        body=_picture,
        right=near(CLASSES, 0.01),
        least_seconds=3.0,
        points=(1, 16, 64),
        quick=(16,),
        drive=closed_loop,
        columns=CLOSED,
    ),
    Steady(
        name="stream",
        title="Streams of 100 chunks",
        service=Service(work=Work.STREAM),
        body=lambda _: b"%d" % CHUNKS,
        right=lambda answer, _: _chunks(CHUNKS)(answer),
        points=(1, 16, 64),
        quick=(16,),
        drive=streams,
        columns=_STREAM_COLUMNS,
    ),
    Steady(
        name="bodies",
        title="Bodies of different sizes, 4 clients, batch size 1",
        service=Service(),
        body=_sized,
        right=lambda answer, at: answer == _sized(at),
        axis="bytes",
        points=(1 << 10, 64 << 10, 1 << 20, 16 << 20),
        quick=(64 << 10, 1 << 20),
        drive=closed_loop,
        columns=(RATE, Column("mb_s", "MB/s"), P50, P99, PSS),
        clients=4,
    ),
    Steady(
        name="v2-json",
        title="256 numbers by the Open Inference Protocol as JSON, batch size 32, 1 ms delay",
        service=Service(work=Work.TENSOR, batch_size=32, delay_ms=1),
        body=lambda _: _JSON,
        right=_same_numbers,
        points=(1, 64),
        quick=(64,),
        drive=closed_loop,
        columns=CLOSED,
    ),
    Steady(
        name="v2-binary",
        title="256 numbers by the Open Inference Protocol as bytes, batch size 32, 1 ms delay",
        service=Service(work=Work.TENSOR, batch_size=32, delay_ms=1),
        body=lambda _: _BINARY,
        right=lambda answer, _: binary_values(answer) == VALUES,
        points=(1, 64),
        quick=(64,),
        drive=closed_loop,
        columns=CLOSED,
        headers={"Content-Type": "application/octet-stream", BINARY_HEAD: str(HEAD_SIZE)},
        peers=("ceiling", "tsl", "triton"),
    ),
    Steady(
        name="v2-grpc",
        title="256 numbers by the Open Inference Protocol over gRPC, batch size 32, 1 ms delay",
        service=Service(work=Work.TENSOR, batch_size=32, delay_ms=1),
        body=lambda _: _MESSAGE,
        right=_same_values,
        points=(1, 64),
        quick=(64,),
        drive=grpc_calls,
        columns=CLOSED,
        peers=("tsl", "triton"),
        method="/inference.GRPCInferenceService/ModelInfer",
    ),
    Steady(
        name="clients",
        title="Echo with more and more clients, batch size 32, 1 ms delay",
        service=Service(batch_size=32, delay_ms=1),
        body=_small,
        right=same_bytes(SMALL),
        points=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
        quick=(1, 8, 64, 512),
        drive=closed_loop,
        columns=CLOSED,
        peers=("ceiling", "tsl", "mosec"),
    ),
    Steady(
        name="chunks",
        title="Streams of more and more chunks, 16 clients",
        service=Service(work=Work.STREAM),
        body=lambda at: b"%d" % at,
        right=lambda answer, at: _chunks(at)(answer),
        axis="chunks",
        points=(2, 10, 100, 1000),  # an answer of one piece is no stream
        quick=(10, 100),
        drive=streams,
        columns=(*_STREAM_COLUMNS, P50, P99, PSS),
        peers=("ceiling", "tsl", "mosec"),
    ),
)
