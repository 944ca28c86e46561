"""What does a worker cost per batch? A real worker process with an echo handler, without server.

This process plays the front end: it keeps so many batches in flight and throws the answers away.
The time is the processor time of the worker, so it hardly depends on what else runs. With one
batch in flight the worker sleeps and wakes for each; with many it does not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.frames import Frame, Hello, Load, Loaded, Metrics, Result, Shutdown

from ..processes import cpu_seconds, exit_on_sigterm, running
from ..report import table
from .sample_frames import predict

BATCHES: Final = 20_000
WARM_UP_BATCHES: Final = 2_000
HANDLER: Final = """
def handle(data, context):
    return [row["body"] for row in data] if data else None
"""
_READ_BYTES: Final = 1 << 20


class Peer:
    """The front end's end of a worker's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = FrameDecoder()

    def send(self, frame: Frame) -> None:
        """Write one frame."""
        self._sock.sendall(b"".join(encode(frame)))

    def receive(self) -> list[Frame]:
        """Wait for at least one frame; updates of metrics are left out."""
        while True:
            data = self._sock.recv(_READ_BYTES)
            if not data:
                raise SystemExit("the worker ended")
            frames: list[Frame] = [
                one for one in self._decoder.feed(data) if not isinstance(one, Metrics)
            ]
            if frames:
                return frames

    def drive(self, rows: int, depth: int, batches: int) -> None:
        """Have batches served, so many in flight at a time."""
        encoded = b"".join(encode(predict(rows)))
        sent = done = 0
        while done < batches:
            room = min(depth - (sent - done), batches - sent)
            self._sock.sendall(encoded * room)
            sent += room
            results = self.receive()
            if not all(isinstance(one, Result) and not one.replies[0].error for one in results):
                raise SystemExit(f"the worker failed: {results[0]!r}")
            done += len(results)


@contextlib.contextmanager
def loaded_worker() -> Iterator[tuple[Peer, int]]:
    """A worker that has loaded the handler, and its process id."""
    with (
        tempfile.TemporaryDirectory(prefix="tsl-bench-") as name,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        folder = Path(name)
        (folder / "handler.py").write_text(HANDLER, encoding="utf-8")
        listening.bind(str(folder / "socket"))
        listening.listen()
        listening.settimeout(30)
        argv = [sys.executable, "-m", "tsl.backend", "--socket", str(folder / "socket")]
        argv += ["--worker-id", "1"]
        environ = {"TSL_WORKER_TOKEN": "secret"}
        with running(argv, cwd=folder, environ=environ, errors=folder / "stderr") as process:
            accepted, _ = listening.accept()
            with accepted:
                peer = Peer(accepted)
                [hello] = peer.receive()
                assert isinstance(hello, Hello)
                peer.send(Load("m", name, "handler.py", "", 32, -1, True, 1 << 30, True, ""))
                [answer] = peer.receive()
                if not isinstance(answer, Loaded):
                    raise SystemExit(f"the worker did not load: {answer!r}")
                yield peer, process.pid
                peer.send(Shutdown("measured"))
                process.wait(10)


def main() -> None:
    """Print the times per batch."""
    exit_on_sigterm()
    rows_of_table = []
    with loaded_worker() as (peer, pid):
        peer.drive(1, 8, WARM_UP_BATCHES)
        for rows, depth in ((1, 1), (1, 8), (1, 32), (32, 1), (32, 8)):
            batches = BATCHES // rows
            started = cpu_seconds(pid)
            peer.drive(rows, depth, batches)
            each_us = (cpu_seconds(pid) - started) / batches * 1e6
            rows_of_table.append([f"{rows} rows, {depth} in flight", f"{each_us:.1f}"])
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} CPUs\n")
    print(table(["worker", "µs CPU per batch"], rows_of_table))


if __name__ == "__main__":
    main()
