"""A handler in a plain loop: ``python -m benchmarks.models.plain_loop FOLDER HANDLER BODY THREADS``.

For each line on stdin, "SIZE SECONDS", the rows per second of its ``handle`` on such batches of the
body, printed as a line. The model is loaded as a worker loads it; there is no server.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tsl.backend.loader import ModelLoader
from tsl.backend.service import Service
from tsl.protocol.frames import Load, Part, Row


def rows_per_second(service: Service, body: bytes, size: int, seconds: float) -> float:
    """Call the handler over and over."""
    handle = service.entry_point
    assert handle is not None
    rows = [Row(str(n), [], [], [Part("body", "", body)]) for n in range(size)]
    count = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        service.context.begin_batch(rows, None)  # type: ignore[arg-type]  # nothing is streamed
        handle([{"body": bytearray(body)} for _ in rows], service.context)
        service.context.end_batch()
        count += size
    return count / (time.perf_counter() - start)


def main() -> None:
    """Answer lines."""
    folder, handler, body_file, threads = sys.argv[1:5]
    import torch

    torch.set_num_threads(int(threads))
    sys.path.insert(0, folder)
    load = Load("loop", folder, handler, "", 64, -1, True, 1 << 30, True, "")
    service = ModelLoader.load(load, lambda *_: None)
    body = Path(body_file).read_bytes()
    for line in sys.stdin:
        size, seconds = line.split()
        print(rows_per_second(service, body, int(size), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
