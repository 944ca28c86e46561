"""The steps of a continuous batch: one call of the handler with all that are active.

After each step, rows whose answer announced more go on, others are done, and jobs that wait may
join. The worker keeps nothing: each step's frame has all of its rows, those that were there
before without their values.
"""

from __future__ import annotations

from tsl.protocol.errors import ProtocolError

from .jobs import Job
from .worker_channel import Batch, StepBatch, WorkerChannel, fail_all


def remaining(batch: Batch) -> list[Job]:
    """The jobs that go on after a step, in their order; their values are not needed any more."""
    jobs = [job for job in batch.jobs if not job.is_settled]
    for job in jobs:
        if job.row.parts:
            job.row = job.row._replace(parts=[])
    return jobs


def send_step(channel: WorkerChannel, active: list[Job], fresh: list[Job], now: float) -> bool:
    """Send the next step.

    Args:
        channel: an idle worker's.
        active: jobs that have had a step.
        fresh: jobs that join.
        now: ``time.monotonic()`` seconds.

    Returns:
        Whether anything was sent. Jobs that cannot be sent have been answered.
    """
    try:
        channel.send_shared(active + fresh, now, StepBatch)
    except ProtocolError as error:  # too large for a frame; nothing was sent
        fail_all(fresh or active, error)
        return bool(active and fresh) and send_step(channel, active, [], now)
    return True
