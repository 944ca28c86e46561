"""What the front end measures along the way of a request.

Every series is bound before it is needed, so a request costs some calls and additions, whichever
way its metrics go; the mode is decided once, by the `Board`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final

from tsl.protocol.errors import JobCancelled, TslError

from ..jobs import STREAMING
from .board import Board
from .families import MAX_CHILDREN, NULL, Child
from .lines import LineGroup, LineSeries
from .own import OwnMetrics

if TYPE_CHECKING:
    from ..jobs import Job

HOST_LEVEL: Final = "Host"


class ModelSeries:
    """The series of one model and version, as asked for."""

    __slots__ = ("answered", "duration", "first_chunk", "queue_time", "requested")

    def __init__(self, board: Board, own: OwnMetrics | None, labels: tuple[str, str]) -> None:
        self.requested = board.series("ts_inference_requests_total", *labels).one
        self.answered = _all_of(
            board.series("ts_inference_latency_microseconds", *labels),
            board.series("ts_queue_latency_microseconds", *labels),
            board.series("QueueTime", HOST_LEVEL),
        )
        self.duration = own.duration.child(labels) if own else NULL
        self.queue_time = own.queue_time.child(labels) if own else NULL
        self.first_chunk = own.first_chunk.child(labels) if own else NULL


def _all_of(*children: Child) -> Callable[[int, int, int], None]:
    """What updates several series at once; as log lines they are one text."""
    lines = [child for child in children if isinstance(child, LineSeries)]
    if len(lines) == len(children):
        return LineGroup(lines).update
    first, second, third = (child.update for child in children)

    def update(one: int, two: int, three: int) -> None:
        first(one)
        second(two)
        third(three)

    return update


class ServerStats:
    """Counts requests, responses and latencies; the `Stats` of every listener.

    Args:
        board: where TorchServe's metrics go.
        own: tsl's metrics, None when nobody can see them.

    Attributes:
        refused_callers: how many callers were refused, by the key that was needed and the reason.
    """

    def __init__(self, board: Board, own: OwnMetrics | None) -> None:
        self._board = board
        self._own = own
        self.refused_callers: Counter[tuple[str, str]] = own.refused_callers if own else Counter()
        self._by_status = own.responses if own else [0] * 600
        successes, client_errors, server_errors = (
            board.series(f"Requests{hundred}XX", HOST_LEVEL).one for hundred in (2, 4, 5)
        )
        # TorchServe counts redirections as Requests5XX; nobody wants to be woken for them.
        none = NULL.one
        self._by_hundred = (none, none, successes, none, client_errors, server_errors)
        self._models: dict[tuple[str, str], ModelSeries] = {}

    def _model(self, job: Job) -> ModelSeries:
        labels = job.labels
        series = self._models.get(labels)
        if series is None:
            series = ModelSeries(self._board, self._own, labels)
            if len(self._models) < MAX_CHILDREN:
                self._models[labels] = series
        job.series = series
        return series

    def accepted(self, job: Job) -> None:
        """A job is about to be queued."""
        (job.series or self._model(job)).requested()

    def answered(self, job: Job, status: int) -> None:
        """A model answered; for a stream, began to."""
        del status
        arrived = job.enqueued_at
        waited = job.sent_at - arrived
        taken = monotonic() - arrived
        series = job.series or self._model(job)
        series.answered(int(taken * 1_000_000), int(waited * 1_000_000), int(waited * 1000))
        if self._own is not None:
            series.queue_time.update(waited)
            (series.first_chunk if job.state == STREAMING else series.duration).update(taken)

    def streamed(self, job: Job) -> None:
        """A stream came to its end."""
        if self._own is not None:
            (job.series or self._model(job)).duration.update(monotonic() - job.enqueued_at)

    def failed(self, job: Job, error: TslError) -> None:
        """A job ended without an answer."""
        if self._own is not None:
            kind = "ClientLeft" if isinstance(error, JobCancelled) else type(error).__name__
            self._own.errors.child((*job.labels, kind)).update(1)

    def refused(self, permission: str, reason: str) -> None:
        """A caller did not show the right key."""
        self.refused_callers[permission, reason] += 1

    def responded(self, status: int) -> None:
        """A response was sent."""
        self._by_status[status] += 1
        self._by_hundred[status // 100]()
