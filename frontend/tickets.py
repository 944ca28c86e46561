"""Job tickets: a request is accepted only while a worker waits for one (``useJobTicket``).

A worker that can take a job is worth one ticket, whatever its batch size, and a job that is
accepted uses it up. So nothing ever waits behind a busy worker: callers learn at once that they
have to go elsewhere.
"""

from __future__ import annotations

from tsl.protocol.errors import QueueFull

from .async_pool import AsyncPool
from .batch_pool import BatchPool
from .continuous_pool import ContinuousPool
from .jobs import Job
from .sequence_pool import ContinuousSequencePool, SequencePool
from .worker_pool import WorkerPool


class Ticketed(WorkerPool):
    """What tickets add to any kind of pool; to be inherited from before that one."""

    def submit(self, job: Job) -> None:
        """Accept a job, if there is a ticket for it.

        Raises:
            QueueFull: there is none.
            TslError: see `WorkerPool.submit`.
        """
        if self.can_serve and self.places <= len(self.queue):
            raise QueueFull(
                "All workers of the model are busy, and useJobTicket lets no request wait.",
                hint="Try again later, or add workers.",
            )
        super().submit(job)


class TicketedBatchPool(Ticketed, BatchPool):
    """`BatchPool` with tickets."""


class TicketedContinuousPool(Ticketed, ContinuousPool):
    """`ContinuousPool` with tickets."""


class TicketedAsyncPool(Ticketed, AsyncPool):
    """`AsyncPool` with tickets."""


class TicketedSequencePool(Ticketed, SequencePool):
    """`SequencePool` with tickets."""


class TicketedContinuousSequencePool(Ticketed, ContinuousSequencePool):
    """`ContinuousSequencePool` with tickets."""
