"""What metrics and the access log cost on the way of one request, in each mode."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from tsl.frontend.http_api.messages import Request, RequestHead
from tsl.frontend.jobs import Job
from tsl.frontend.logs.access_log import AccessLog
from tsl.frontend.logs.line_log import LineStyle, LineWriter
from tsl.frontend.logs.log_file import LogFile
from tsl.frontend.metrics.board import Board
from tsl.frontend.metrics.definitions import built_in
from tsl.frontend.metrics.own import OwnMetrics
from tsl.frontend.metrics.server_stats import ServerStats
from tsl.protocol.frames import Part, Row

from ..report import table
from .timing import best_us

REQUESTS = 100
MODES = ("off", "prometheus", "legacy", "log")


class _Nobody:
    """A sink for answers that nobody gives."""

    finish = chunk = fail = None


def _jobs() -> list[Job]:
    sink: Any = _Nobody()
    jobs = []
    for number in range(REQUESTS):
        job = Job(Row("id", [], [], [Part("body", "", b"x")]), sink, monotonic())
        job.labels = ("model", "default")
        job.sent_at = job.enqueued_at + number / 1e5  # other times, so other lines
        jobs.append(job)
    return jobs


async def _measure(folder: Path) -> dict[str, float]:
    """Microseconds per request, by what is on."""
    writer = LineWriter(console=False)
    log = writer.open(lambda: LogFile(folder / "log"), LineStyle(), None)
    jobs = _jobs()
    found = {}
    for mode in MODES:
        board = Board(built_in(), mode, None if mode == "off" else log.add)
        stats = ServerStats(board, OwnMetrics() if mode == "prometheus" else None)

        def count(stats: ServerStats = stats) -> None:
            for job in jobs:
                stats.accepted(job)
                stats.answered(job, 200)
                stats.responded(200)
            log.take()

        found[f"metrics: {mode}"] = best_us(count) / REQUESTS
    access = AccessLog(log.add)
    request = Request(RequestHead(b"POST", b"/predictions/m", []), b"x", monotonic())

    def note() -> None:
        for _ in jobs:
            access.add(b"/127.0.0.1:33820", request, 200, "id")
        log.take()

    found["access log"] = best_us(note) / REQUESTS
    writer.close()
    return found


def main() -> None:
    """Print microseconds per request."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measure(Path(folder)))
    print(table(["per request", "µs"], [[name, f"{us:,.2f}"] for name, us in found.items()]))


if __name__ == "__main__":
    main()
