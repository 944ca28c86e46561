"""A pool with ``batchPolicy: learned``: who is sent when, and what is learned from it."""

from __future__ import annotations

import pytest

from tsl.frontend.jobs import SoloJob
from tsl.frontend.learned_pool import LearnedPool
from tsl.frontend.learned_queue import LearnedQueue


@pytest.fixture
def new_learned(new_serving):
    """Makes a learned pool with loaded workers."""

    def make(workers=1, batch_size=8):
        queue = LearnedQueue(
            batch_size=batch_size, max_delay_s=0.1, capacity=100, capacity_bytes=10**6
        )
        return new_serving(workers, kind=LearnedPool, queue=queue)

    return make


def teach(pool, seconds, sizes=(1, 2, 4, 8)):
    for _ in range(20):
        for size in sizes:
            pool.queue.learned.served(size, seconds(size))


def know_clients(pool, clients, gap_s=0.002):
    for start in range(40):
        burst = [start + gap_s * number for number in range(clients)]
        pool.queue.learned.released(burst, 1, burst[0])


def sublinear(size):
    return 0.019 + 0.001 * size


def test_nothing_waits_while_nothing_is_known(new_learned, submit):
    pool, (fake,) = new_learned()

    submit(pool, "a")

    assert fake.batches == [["a"]]


def test_company_that_pays_is_waited_for(world, new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, sublinear)
    know_clients(pool, 3)

    for name in "abc":
        submit(pool, name)
        world.advance(0.002)

    assert fake.batches == [["a", "b", "c"]]


def test_company_that_does_not_come_is_given_up(world, new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, sublinear)
    know_clients(pool, 3)
    submit(pool, "a")
    assert fake.batches == []

    world.advance(0.02)

    assert fake.batches == [["a"]]


def test_less_than_a_timer_can_tell_is_a_turn_of_the_loop(new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, lambda size: 0.0005 + 0.00001 * size)
    know_clients(pool, 3, gap_s=0.00002)

    submit(pool, "a")
    submit(pool, "b")

    assert fake.batches == [["a", "b"]]


def test_a_deadline_is_not_waited_away(world, new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, sublinear)
    know_clients(pool, 3)

    submit(pool, "a")
    submit(pool, "b", deadline=world.now + 0.03)

    assert fake.batches == [["a", "b"]]


def test_a_far_deadline_changes_nothing(world, new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, sublinear)
    know_clients(pool, 3)

    submit(pool, "a", deadline=world.now + 60)
    submit(pool, "b", deadline=world.now + 60)
    assert fake.batches == []
    submit(pool, "c")

    assert fake.batches == [["a", "b", "c"]]


def test_a_description_does_not_wait(new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, sublinear)
    know_clients(pool, 3)

    submit(pool, "what", kind=SoloJob)

    assert fake.batches == [["what"]]
    before = pool.describe_batching()["batches"]
    fake.answer(1)
    assert pool.describe_batching()["batches"] == before


def test_a_client_that_leaves_ends_the_wait_of_nobody(world, new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, sublinear)
    know_clients(pool, 3)
    submit(pool, "a").cancel()

    submit(pool, "b")
    assert fake.batches == []
    world.advance(0.02)

    assert fake.batches == [["b"]]


def test_idle_workers_share_a_burst(world, new_learned, submit):
    pool, fakes = new_learned(workers=2)
    teach(pool, lambda size: 0.02 + 0.01 * size)
    know_clients(pool, 6, gap_s=0.0)

    for name in "abcdef":
        submit(pool, name)
    world.advance(0.01)

    assert [len(batch) for fake in fakes for batch in fake.batches] == [3, 3]


def test_what_batches_take_is_learned(world, new_learned, submit):
    pool, (fake,) = new_learned()

    for number in range(1, 11):
        submit(pool)
        world.advance(0.01)
        fake.answer(number, service_us=9_000)

    report = pool.describe_batching()
    assert report["batches"] == 10
    assert report["fixedMs"] + report["perRequestMs"] == pytest.approx(10, rel=0.01)


def test_a_worker_that_dies_teaches_nothing(world, new_learned, submit):
    pool, (fake,) = new_learned()
    submit(pool)

    fake.end(1)
    world.advance()

    assert pool.describe_batching()["batches"] == 0
    assert pool.queue._in_flight == 0


def test_closing_leaves_no_timer(world, new_learned, submit):
    pool, (fake,) = new_learned()
    teach(pool, lambda size: 0.0005 + 0.00001 * size)
    know_clients(pool, 3, gap_s=0.00002)
    job = submit(pool, "a")

    closing = world.task(pool.close(5))
    world.advance()
    fake.end(0)
    world.run(closing)

    assert job.is_settled
    assert pool._turn is None
