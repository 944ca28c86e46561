"""Choose the kind of pool that a model's settings ask for."""

from __future__ import annotations

from collections.abc import Callable

from tsl.model_store import ModelVersion

from .batch_pool import BatchPool
from .batching import BatchPolicy, BatchQueue
from .pipelining import PipelineDepth
from .worker import Worker, WorkerOwner
from .worker_pool import MetricSink, WorkerPool


def new_pool(
    version: ModelVersion, new_worker: Callable[[WorkerOwner], Worker], metrics: MetricSink
) -> WorkerPool:
    """Make the pool of a model version; it has no workers yet.

    Args:
        version: what its workers serve.
        new_worker: makes another worker of this version (not started).
        metrics: where its metrics go.
    """
    config = version.config
    queue = BatchQueue(
        capacity=config.job_queue_size,
        capacity_bytes=config.job_queue_bytes,
        batch_size=config.batch_size,
        max_delay_s=config.max_batch_delay_ms / 1000,
        policy=BatchPolicy(config.batch_policy),
    )
    name = f"Model {version.name!r} version {version.version}"
    pool = BatchPool(name, queue, new_worker, config.response_timeout_s, metrics)
    if config.has_ranks:
        pool.depth = PipelineDepth(limit=1)  # the ranks of a worker run in step
    return pool
