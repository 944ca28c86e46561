"""Which settings lead to which kind of pool and queue."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tsl.frontend.async_pool import AsyncPool
from tsl.frontend.batch_pool import BatchPool
from tsl.frontend.batching import BatchPolicy
from tsl.frontend.continuous_pool import ContinuousPool
from tsl.frontend.learned_pool import LearnedPool
from tsl.frontend.pools import is_async, new_pool
from tsl.frontend.sequence_headers import SequenceHeaders
from tsl.frontend.sequence_pool import ContinuousSequencePool, SequencePool
from tsl.frontend.tickets import Ticketed
from tsl.model_store import ModelConfig

SEQUENCES = {
    "sequence_batching": True,
    "sequence_max_idle_ms": 5000,
    "sequence_timeout_ms": 9000,
    "max_num_sequence": 7,
    "max_sequence_job_queue_size": 3,
}


def make(**settings):
    config = ModelConfig(batch_size=8, max_batch_delay_ms=250, response_timeout_s=9, **settings)
    version = SimpleNamespace(name="m", version="1.0", config=config, model_dir=Path("/m"))
    return new_pool(version, SequenceHeaders("seq", "start", "end"), None, None)


@pytest.mark.parametrize("tickets", [False, True], ids=["queue", "tickets"])
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, BatchPool),
        ({"continuous_batching": True}, ContinuousPool),
        ({"async_communication": True}, AsyncPool),
        ({"async_communication": True, "continuous_batching": True}, ContinuousPool),
        (SEQUENCES, SequencePool),
        ({**SEQUENCES, "async_communication": True}, SequencePool),
        ({**SEQUENCES, "continuous_batching": True}, ContinuousSequencePool),
    ],
    ids=["plain", "steps", "async", "async-steps", "sequences", "async-sequences", "both"],
)
def test_the_kind_of_pool(settings, kind, tickets):
    pool = make(use_job_ticket=tickets, **settings)

    assert isinstance(pool, kind)
    assert isinstance(pool, Ticketed) is tickets
    assert pool.name == "Model 'm' version 1.0"
    assert pool.response_timeout_s == 9


def test_the_usual_queue():
    queue = make(job_queue_size=5, job_queue_bytes=50).queue

    assert (queue.capacity, queue.capacity_bytes) == (5, 50)
    assert (queue.batch_size, queue.max_delay_s, queue.policy) == (8, 0.25, BatchPolicy.WINDOW)


def test_a_coroutine_handler_gets_no_batches():
    queue = make(async_communication=True).queue

    assert (queue.batch_size, queue.max_delay_s) == (1, 0.0)


def test_with_tickets_nobody_waits_for_company():
    assert make(use_job_ticket=True).queue.policy is BatchPolicy.EAGER


def test_a_learned_policy_has_a_pool_of_its_own():
    pool = make(batch_policy="learned")

    assert type(pool) is LearnedPool
    assert (pool.queue.batch_size, pool.queue.max_delay_s) == (8, 0.25)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_job_ticket": True},
        {"continuous_batching": True},
        {"async_communication": True},
        SEQUENCES,
    ],
    ids=["tickets", "steps", "async", "sequences"],
)
def test_where_others_decide_there_is_nothing_to_learn(settings):
    assert make(batch_policy="learned", **settings).queue.policy is BatchPolicy.EAGER


def test_a_queue_for_sequences():
    queue = make(**SEQUENCES, job_queue_bytes=50).queue

    assert (queue.max_sequences, queue.capacity, queue.capacity_bytes) == (7, 21, 50)
    assert (queue.batch_size, queue.max_delay_s) == (8, 0.25)
    assert queue._max_idle_s == 5.0
    assert queue._timeout_s == 9.0


def test_only_without_other_ways_a_handler_is_asynchronous():
    assert is_async(ModelConfig(async_communication=True))
    assert not is_async(ModelConfig(async_communication=True, sequence_batching=True))
    assert not is_async(ModelConfig())
