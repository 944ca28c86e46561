"""What does queueing cost per job, alone and in batches of 32?"""

from __future__ import annotations

from collections.abc import Callable

from tsl.frontend.batching import BatchQueue
from tsl.frontend.jobs import Job
from tsl.protocol.errors import TslError
from tsl.protocol.frames import Chunk, Reply

from .sample_frames import row
from .timing import print_times

NOW = 1000.0


class Sink:
    """Takes answers and does nothing with them."""

    def finish(self, job: Job, reply: Reply) -> None:
        """Drop it."""

    def chunk(self, job: Job, chunk: Chunk) -> None:
        """Drop it."""

    def fail(self, job: Job, error: TslError) -> None:
        """Drop it."""


def batch_of(size: int, waiting: int = 0) -> Callable[[], object]:
    """Put a batch of jobs, ask whether it is due, take it.

    Args:
        size: jobs per batch.
        waiting: jobs that are in the queue all the time.
    """
    queue = BatchQueue(capacity=100_000, capacity_bytes=1 << 30, batch_size=size, max_delay_s=0.1)
    jobs = [Job(row(), Sink(), NOW) for _ in range(size)]
    for _ in range(waiting):
        queue.put(Job(row(), Sink(), NOW))

    def call() -> None:
        nonlocal jobs
        for job in jobs:
            queue.put(job)
        if queue.is_due(NOW):
            jobs, _ = queue.take(NOW)

    return call


def main() -> None:
    """Print the times."""
    one, sink, reply = row(), Sink(), Reply(0, "", [], "", b"hello world")
    print_times(
        "jobs and batches",
        {
            "make a job": lambda: Job(one, sink, NOW),
            "make a job, and finish it": lambda: Job(one, sink, NOW).finish(reply),
            "queue a batch of 1": batch_of(1),
            "queue a batch of 1, 1000 jobs waiting": batch_of(1, 1000),
            "queue a batch of 32": batch_of(32),
        },
    )


if __name__ == "__main__":
    main()
