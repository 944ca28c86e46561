"""A job ticket is worth one idle worker."""

from __future__ import annotations

import pytest

from tsl.frontend.tickets import TicketedBatchPool, TicketedContinuousPool
from tsl.protocol.errors import NoWorkers, QueueFull


def test_jobs_are_accepted_as_long_as_workers_are_idle(new_serving, submit):
    pool, fakes = new_serving(2, kind=TicketedBatchPool)
    submit(pool, "a")
    submit(pool, "b")

    with pytest.raises(QueueFull) as caught:
        submit(pool, "c")

    assert "useJobTicket" in caught.value.message
    fakes[1].answer(1)
    submit(pool, "c")
    assert [fake.batches for fake in fakes] == [[["a"]], [["b"], ["c"]]]


def test_a_job_that_waits_for_company_has_used_up_the_ticket(new_serving, submit):
    pool, (fake,) = new_serving(kind=TicketedBatchPool, batch_size=4, max_delay_s=1)
    submit(pool, "a")
    assert fake.batches == []

    with pytest.raises(QueueFull):
        submit(pool, "b")


def test_a_ticket_comes_back_when_its_job_leaves(new_serving, submit):
    pool, _ = new_serving(kind=TicketedBatchPool, batch_size=4, max_delay_s=1)
    submit(pool, "a").cancel()

    submit(pool, "b")

    assert len(pool.queue) == 1


def test_a_model_without_workers_says_so(new_pool, submit):
    pool = new_pool(kind=TicketedBatchPool)

    with pytest.raises(NoWorkers):
        submit(pool, "a")


def test_a_worker_that_is_still_loading_has_no_ticket(world, new_pool, submit, launcher):
    pool = new_pool(kind=TicketedBatchPool)
    pool.scale(1, 1)
    world.advance()
    with pytest.raises(QueueFull):
        submit(pool, "a")

    launcher.last.load()
    submit(pool, "b")

    assert launcher.last.batches == [["b"]]


def test_a_running_batch_has_a_ticket_for_each_free_row(new_serving, submit):
    pool, (fake,) = new_serving(kind=TicketedContinuousPool, batch_size=2)
    submit(pool, "a")
    submit(pool, "b")

    with pytest.raises(QueueFull):
        submit(pool, "c")

    fake.step(1, a="more")
    assert fake.batches == [["a"], ["a", "b"]]
