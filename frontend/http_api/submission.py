"""How a request for a model becomes a job: the same for each protocol over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tsl.protocol.errors import InvalidRequest
from tsl.protocol.frames import Row

from ..jobs import Job, ReplySink
from ..registry import ServedModel
from ..timing import TimedJob
from .exchange import Exchange

if TYPE_CHECKING:
    from ..metrics.server_stats import ModelSeries


class ModelCall:
    """Whom a request asks; of a head that comes again, made once.

    Args:
        params: of the route.

    Attributes:
        name: of the model.
        version: of the model, "" for the default one.
        labels: model and version as asked for, for the counters.
        series: the counters, once a job has found them.
    """

    __slots__ = ("labels", "name", "series", "version")

    def __init__(self, params: Mapping[str, str]) -> None:
        self.name = params["model_name"]
        self.version = params.get("model_version", "")
        self.labels = (self.name, self.version or "default")
        self.series: ModelSeries | None = None


def submit(
    exchange: Exchange,
    call: ModelCall,
    served: ServedModel,
    row: Row,
    sink: ReplySink,
    limit_s: float,
) -> None:
    """Make a job of a request, and queue it.

    Args:
        exchange: the request.
        call: whom it asks.
        served: that model.
        row: what the worker gets.
        sink: where the answer goes.
        limit_s: how long an answer may take; 0.0 for as long as it takes. The client may have a
            limit of its own.

    Raises:
        InvalidRequest: the client's limit is no number.
        NoWorkers, QueueFull, ShuttingDown: it is not accepted.
    """
    head = exchange.request.head
    job = (TimedJob if head.wants_timing else Job)(
        row,
        sink,
        exchange.request.started_at,
        deadline_of(exchange, limit_s) if head.timeout_ms or limit_s else None,
    )
    job.labels = call.labels
    job.series = call.series
    exchange.job = job
    exchange.connection.context.stats.accepted(job)
    call.series = job.series
    served.pool.submit(job)


def deadline_of(exchange: Exchange, limit_s: float) -> float:
    """When the answer is of no use any more: the given limit or the client's, if sooner.

    Args:
        exchange: the request.
        limit_s: the server's limit, 0.0 for none; then the client must have one.

    Raises:
        InvalidRequest: the client's limit is no number.
    """
    given = exchange.request.timeout_ms
    if given:
        if not given.isdigit() or int(given) == 0:
            raise InvalidRequest(
                "The header x-request-timeout-ms is not a positive number of milliseconds."
            )
        asked_s = int(given) / 1000
        limit_s = min(limit_s, asked_s) if limit_s else asked_s
    return exchange.request.started_at + limit_s
