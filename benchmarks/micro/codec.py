"""What do frames cost? Encode and decode `Predict` and `Result`, one row and 32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tsl.protocol.codec import FrameDecoder, encode

from .sample_frames import predict, result
from .timing import print_times


def main() -> None:
    """Print the times per frame."""
    calls: dict[str, Callable[[], object]] = {}
    decoder = FrameDecoder()
    for rows in (1, 32):
        for frame in (predict(rows), result(rows)):
            data = b"".join(encode(frame))
            name = f"{type(frame).__name__}, {rows} rows, {len(data)} bytes"
            calls[f"encode {name}"] = partial(encode, frame)
            calls[f"decode {name}"] = partial(decoder.feed, data)
    print_times("codec", calls)


if __name__ == "__main__":
    main()
