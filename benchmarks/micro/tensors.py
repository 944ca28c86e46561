"""What does a request of the Open Inference Protocol cost the worker, without sockets?

Batches of 32 requests with 256 numbers each, as the benchmark sends them, to a model with
``inputFormat: tensors`` that gives its input back: decode the frame, run the handler, encode the answer.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tsl.backend.loader import ModelLoader
from tsl.backend.service import Service
from tsl.backend.streaming import ReplyStream
from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.frames import Load, Part, Predict, Row
from tsl.protocol.tensors import FRAMED, TENSORS_PART, TENSORS_TYPE

from ..scenarios.load import NUMBERS, VALUES
from .sample_frames import HEADERS, REQUEST_ID
from .timing import print_times

ROWS: Final = 32
HANDLER: Final = """
def handle(data, context):
    return [{"OUTPUT0": row["INPUT0"]} for row in data] if data else None
"""
_PREDICT: Final = ["explain", "False"]
_MANIFEST: Final = {"model": {"modelName": "m", "modelVersion": "1.0", "configFile": "config.yaml"}}


def _document(**tensor: Any) -> bytes:
    shape = {"name": "INPUT0", "shape": [1, len(NUMBERS)], "datatype": "FP32"}
    return json.dumps({"inputs": [{**shape, **tensor}]}).encode()


def _json_row() -> Row:
    return _row([Part("body", "application/json", _document(data=NUMBERS))], _PREDICT)


def _binary_row(properties: list[str]) -> Row:
    document = {
        **json.loads(_document(parameters={"binary_data_size": len(VALUES)})),
        "parameters": {"binary_data_output": True},
    }
    parts = [
        Part("body", "application/json", json.dumps(document).encode()),
        Part(TENSORS_PART, TENSORS_TYPE, VALUES),
    ]
    return _row(parts, properties)


def _row(parts: list[Part], properties: list[str]) -> Row:
    return Row(REQUEST_ID, HEADERS, properties, parts)


def _load(folder: Path) -> Service:
    (folder / "tensor_echo.py").write_text(HANDLER, encoding="utf-8")
    (folder / "config.yaml").write_text("inputFormat: tensors\n", encoding="utf-8")
    (folder / "MAR-INF").mkdir()
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(_MANIFEST), encoding="utf-8")
    sys.path.insert(0, str(folder))
    load = Load("m", str(folder), "tensor_echo.py", "", ROWS, -1, True, 1 << 30, False, "")
    return ModelLoader.load(load, lambda _: None)


class _Nowhere:
    """A connection that nothing is written to."""

    def send(self, *frames: Any) -> None:
        raise AssertionError(frames)


def _batch(service: Service, row: Row) -> Callable[[], object]:
    """Serve one batch of such rows."""
    decoder = FrameDecoder()
    stream = ReplyStream(_Nowhere(), 1 << 30)  # type: ignore[arg-type]  # handle streams nothing
    batch = Predict(1, [row] * ROWS)
    data = b"".join(encode(batch))

    def serve() -> None:
        [frame] = decoder.feed(data)
        assert isinstance(frame, Predict)
        result = service.predict(frame, stream)
        encode(result)

    return serve


def main() -> None:
    """Print the times per batch."""
    with tempfile.TemporaryDirectory(prefix="tsl-bench-") as name:
        service = _load(Path(name))
        print_times(
            f"{ROWS} requests",
            {
                "JSON": _batch(service, _json_row()),
                "bytes": _batch(service, _binary_row(_PREDICT)),
                "bytes, by gRPC": _batch(service, _binary_row([*_PREDICT, FRAMED, "True"])),
            },
        )


if __name__ == "__main__":
    main()
