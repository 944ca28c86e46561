"""Choose the kind of pool that a model's settings ask for."""

from __future__ import annotations

from collections.abc import Callable

from tsl.model_store import ModelConfig, ModelVersion

from .async_pool import AsyncPool
from .batch_pool import BatchPool
from .batching import BatchPolicy, BatchQueue
from .continuous_pool import ContinuousPool
from .learned_pool import LearnedPool
from .learned_queue import LearnedQueue
from .pipelining import PipelineDepth
from .sequence_headers import SequenceHeaders
from .sequence_pool import ContinuousSequencePool, SequencePool
from .sequences import SequenceQueue
from .tickets import (
    TicketedAsyncPool,
    TicketedBatchPool,
    TicketedContinuousPool,
    TicketedContinuousSequencePool,
    TicketedSequencePool,
)
from .worker import Worker, WorkerOwner
from .worker_pool import MetricSink, WorkerPool


def new_pool(
    version: ModelVersion,
    headers: SequenceHeaders,
    new_worker: Callable[[WorkerOwner], Worker],
    metrics: MetricSink,
) -> WorkerPool:
    """Make the pool of a model version; it has no workers yet.

    Args:
        version: what its workers serve.
        headers: the server's names for the headers of sequences.
        new_worker: makes another worker of this version (not started).
        metrics: where its metrics go.
    """
    config = version.config
    name = f"Model {version.name!r} version {version.version}"
    rest = (new_worker, config.response_timeout_s, metrics)
    if config.sequence_batching:
        return _stateful_kind(config)(name, _sequence_queue(config, headers), *rest)
    if learns(config):
        learned = LearnedQueue(
            capacity=config.job_queue_size,
            capacity_bytes=config.job_queue_bytes,
            batch_size=config.batch_size,
            max_delay_s=config.max_batch_delay_ms / 1000,
        )
        pool: BatchPool = LearnedPool(name, learned, *rest)
    else:
        pool = _kind(config)(name, _batch_queue(config), *rest)
    if config.has_ranks:
        pool.depth = PipelineDepth(limit=1)  # the ranks of a worker run in step
    return pool


def is_async(config: ModelConfig) -> bool:
    """Whether handlers are called as coroutines.

    The other ways of scheduling come first; and ranks of one worker must all run the same calls in
    the same order.
    """
    others = config.sequence_batching or config.continuous_batching or config.has_ranks
    return config.async_communication and not others


def learns(config: ModelConfig) -> bool:
    """Whether batches are made as `learned_policy` says.

    There is nothing to decide without batches, nor where others decide: steps of continuous batches
    take whoever waits, and with job tickets nobody does. There it is the same as ``eager``.
    """
    others = config.sequence_batching or config.continuous_batching or config.use_job_ticket
    asked = config.batch_policy == BatchPolicy.LEARNED.value and config.batch_size > 1
    return asked and not others and not is_async(config)


def _kind(config: ModelConfig) -> type[BatchPool]:
    tickets = config.use_job_ticket
    if config.continuous_batching:
        return TicketedContinuousPool if tickets else ContinuousPool
    if is_async(config):
        return TicketedAsyncPool if tickets else AsyncPool
    return TicketedBatchPool if tickets else BatchPool


def _stateful_kind(config: ModelConfig) -> type[SequencePool]:
    if config.continuous_batching:
        return TicketedContinuousSequencePool if config.use_job_ticket else ContinuousSequencePool
    return TicketedSequencePool if config.use_job_ticket else SequencePool


def _batch_queue(config: ModelConfig) -> BatchQueue:
    return BatchQueue(
        capacity=config.job_queue_size,
        capacity_bytes=config.job_queue_bytes,
        batch_size=1 if is_async(config) else config.batch_size,
        max_delay_s=config.max_batch_delay_ms / 1000,
        policy=_policy(config),
    )


def _sequence_queue(config: ModelConfig, headers: SequenceHeaders) -> SequenceQueue:
    return SequenceQueue(
        headers=headers,
        capacity_bytes=config.job_queue_bytes,
        batch_size=config.batch_size,
        max_delay_s=config.max_batch_delay_ms / 1000,
        policy=_policy(config),
        max_sequences=config.max_num_sequence,
        max_waiting=config.max_sequence_job_queue_size,
        max_idle_s=config.sequence_max_idle_ms / 1000,
        timeout_s=config.sequence_timeout_ms / 1000,
    )


def _policy(config: ModelConfig) -> BatchPolicy:
    """With one ticket per idle worker nobody can join a job, so that it need not wait."""
    policy = BatchPolicy(config.batch_policy)
    if config.use_job_ticket or policy is BatchPolicy.LEARNED:
        return BatchPolicy.EAGER
    return policy
