"""When a batch is due, what is in it, and when the queue refuses; time is a number."""

from __future__ import annotations

import pytest

from tsl.frontend import batching
from tsl.frontend.batching import BatchPolicy, BatchQueue
from tsl.frontend.jobs import Job, JobState, SoloJob
from tsl.protocol.errors import QueueFull
from tsl.protocol.frames import Reply

WINDOW, EAGER = BatchPolicy.WINDOW, BatchPolicy.EAGER


def new_queue(**arguments):
    return BatchQueue(**{"capacity": 100, "capacity_bytes": 10**6, **arguments})


@pytest.fixture
def fill(new_job):
    """Puts jobs named a, b, c… that arrived at the given times."""

    def put(queue, *times, **arguments):
        jobs = [new_job(chr(ord("a") + at), now=now, **arguments) for at, now in enumerate(times)]
        for job in jobs:
            queue.put(job)
        return jobs

    return put


# -- refusing


def test_a_job_beyond_the_capacity_is_refused(new_job, fill):
    queue = new_queue(capacity=2)
    fill(queue, 0, 0)

    with pytest.raises(QueueFull, match="2 jobs are waiting") as caught:
        queue.put(new_job("late"))

    assert "job_queue_size" in caught.value.hint
    assert len(queue) == 2
    assert queue.size_bytes == 2


def test_bytes_beyond_the_capacity_are_refused(new_job, fill):
    queue = new_queue(capacity_bytes=10)
    fill(queue, 0, body=b"x" * 6)

    with pytest.raises(QueueFull, match="6 bytes are waiting") as caught:
        queue.put(new_job(body=b"x" * 5))

    assert "job_queue_bytes" in caught.value.hint
    assert queue.size_bytes == 6


def test_bytes_up_to_the_capacity_are_let_in(new_job, fill):
    queue = new_queue(capacity_bytes=10)
    fill(queue, 0, body=b"x" * 6)

    queue.put(new_job(body=b"x" * 4))

    assert queue.size_bytes == 10


def test_one_job_larger_than_the_capacity_is_let_in_alone(new_job):
    queue = new_queue(capacity_bytes=10)

    queue.put(new_job(body=b"x" * 50))

    with pytest.raises(QueueFull):
        queue.put(new_job())


def test_a_refused_job_does_not_belong_to_the_queue(new_job):
    queue, job = new_queue(capacity=0), new_job()

    with pytest.raises(QueueFull):
        queue.put(job)

    assert job.queue is None


# -- the window


def test_nothing_is_due_in_an_empty_queue():
    for policy in BatchPolicy:
        queue = new_queue(policy=policy)

        assert not queue.is_due(1e9)
        assert queue.due_at() is None
        assert queue.take(1e9) == ([], [])


def test_a_batch_of_one_is_due_at_once_whatever_the_delay(fill):
    queue = new_queue(batch_size=1, max_delay_s=5)
    fill(queue, 10)

    assert queue.is_due(10)
    assert queue.due_at() == 10


def test_a_full_batch_is_due_at_once(fill):
    queue = new_queue(batch_size=2, max_delay_s=5)
    fill(queue, 10, 10)

    assert queue.is_due(10)
    assert queue.is_due(10, idle=False)


def test_the_window_opens_with_the_first_job_and_is_not_moved_by_others(fill):
    queue = new_queue(batch_size=4, max_delay_s=0.3)
    fill(queue, 10.0, 10.2, 10.28)

    assert queue.due_at() == 10.3
    assert not queue.is_due(10.299)
    assert queue.is_due(10.3)


def test_the_window_of_what_is_left_counts_from_its_own_first_job(fill):
    queue = new_queue(batch_size=2, max_delay_s=1)
    fill(queue, 10, 11, 12)

    queue.take(12)

    assert queue.due_at() == 13


def test_a_window_moves_on_when_its_first_job_leaves(fill):
    queue = new_queue(batch_size=4, max_delay_s=1)
    first, _ = fill(queue, 10, 10.5)

    first.cancel()

    assert queue.due_at() == 11.5


def test_a_window_opens_anew_after_all_have_left(new_job, fill):
    queue = new_queue(batch_size=4, max_delay_s=1)
    (job,) = fill(queue, 10)
    job.cancel()

    queue.put(new_job(now=20))

    assert queue.due_at() == 21
    assert not queue.is_due(20.5)


def test_a_window_opens_anew_after_draining(new_job, fill):
    queue = new_queue(batch_size=4, max_delay_s=1)
    fill(queue, 10)
    queue.drain()

    queue.put(new_job(now=20))

    assert queue.due_at() == 21


# -- eager


def test_an_eager_queue_gives_anything_to_an_idle_worker(fill):
    queue = new_queue(batch_size=4, max_delay_s=5, policy=EAGER)
    fill(queue, 10)

    assert queue.is_due(10)


def test_an_eager_queue_gives_only_full_batches_to_a_busy_worker(new_job, fill):
    queue = new_queue(batch_size=2, max_delay_s=5, policy=EAGER)
    fill(queue, 10)
    assert not queue.is_due(100, idle=False)

    queue.put(new_job(now=10))

    assert queue.is_due(10, idle=False)


# -- taking


def test_batches_keep_the_order_and_their_size(fill):
    queue = new_queue(batch_size=2)
    jobs = fill(queue, 0, 0, 0, 0, 0)

    assert [queue.take(0)[0] for _ in range(4)] == [jobs[:2], jobs[2:4], jobs[4:], []]
    assert queue.size_bytes == 0


def test_expired_jobs_are_handed_out_apart_and_use_no_room(new_job):
    queue = new_queue(batch_size=2)
    jobs = [
        new_job(name, deadline=deadline)
        for name, deadline in zip("abcd", (5, 9, 5, None), strict=True)
    ]
    for job in jobs:
        queue.put(job)

    batch, expired = queue.take(5)

    assert batch == [jobs[1], jobs[3]]
    assert expired == [jobs[0], jobs[2]]
    assert queue.size_bytes == 0


def test_a_deadline_that_is_now_has_passed(new_job):
    queue = new_queue()
    queue.put(new_job(deadline=5))

    assert queue.take(5)[1]


def test_removing_twice_changes_nothing(fill):
    queue = new_queue()
    job, _ = fill(queue, 0, 0)

    assert queue.remove(job)
    assert not queue.remove(job)
    assert queue.size_bytes == 1


def test_draining_gives_everything_in_order(fill):
    queue = new_queue(batch_size=2)
    jobs = fill(queue, 0, 0, 0)

    assert queue.drain() == jobs
    assert (len(queue), queue.size_bytes) == (0, 0)


@pytest.fixture
def ten_bytes(monkeypatch):
    monkeypatch.setattr(batching, "MAX_BATCH_BYTES", 10)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([5, 5, 1], [[5, 5], [1]]),
        ([6, 5, 5], [[6], [5, 5]]),
        ([50, 1], [[50], [1]]),
        ([1, 50, 1], [[1], [50], [1]]),
    ],
)
def test_a_batch_is_not_larger_than_a_worker_takes(new_job, ten_bytes, sizes, batches):
    queue = new_queue(batch_size=8)
    for size in sizes:
        queue.put(new_job(body=b"x" * size))

    taken = [[job.size_bytes for job in queue.take(0)[0]] for _ in batches]

    assert taken == batches
    assert queue.size_bytes == 0


def test_what_did_not_fit_is_counted_and_its_window_counts_from_its_own_arrival(new_job, ten_bytes):
    queue = new_queue(batch_size=8, max_delay_s=1)
    for now in (10, 20):
        queue.put(new_job(now=now, body=b"x" * 6))

    queue.take(20)

    assert (len(queue), queue.size_bytes, queue.due_at()) == (1, 6, 21)


def test_an_expired_job_takes_no_bytes_of_the_batch(new_job, ten_bytes):
    queue = new_queue(batch_size=8)
    jobs = [
        new_job("a", body=b"x" * 2),
        new_job("late", deadline=1, body=b"x" * 50),
        new_job("b", body=b"x" * 8),
    ]
    for job in jobs:
        queue.put(job)

    assert queue.take(5) == ([jobs[0], jobs[2]], [jobs[1]])
    assert queue.size_bytes == 0


# -- putting back


def test_what_is_put_back_comes_first_and_in_order(fill):
    queue = new_queue(batch_size=2)
    jobs = fill(queue, 0, 1, 2, 3)
    batch, _ = queue.take(0)
    for job in batch:
        job.state = JobState.SENT

    queue.put_back(batch)

    assert queue.take(0)[0] == jobs[:2]
    assert queue.take(0)[0] == jobs[2:]
    assert all(job.state is JobState.QUEUED for job in jobs)


def test_what_is_put_back_is_counted_although_the_queue_is_full(new_job, fill):
    queue = new_queue(capacity=1, capacity_bytes=1)
    fill(queue, 0)
    batch, _ = queue.take(0)
    queue.put(new_job())

    queue.put_back(batch)

    assert len(queue) == 2
    assert queue.size_bytes == 2
    with pytest.raises(QueueFull):
        queue.put(new_job())


def test_a_window_that_has_passed_is_still_over_for_what_is_put_back(fill):
    queue = new_queue(batch_size=4, max_delay_s=1)
    fill(queue, 10)
    batch, _ = queue.take(11)

    queue.put_back(batch)

    assert queue.due_at() == 11
    assert queue.is_due(11)


def test_a_job_that_was_put_back_can_be_cancelled(fill):
    queue = new_queue()
    (job,) = fill(queue, 0)
    queue.put_back(queue.take(0)[0])

    job.cancel()

    assert len(queue) == 0


def test_a_job_that_ended_meanwhile_does_not_come_back(fill):
    """Answering one job of a lost worker may end another one: its connection closes, say."""
    queue = new_queue(batch_size=2)
    ended, other = fill(queue, 0, 0)
    batch, _ = queue.take(0)
    ended.finish(Reply(200, "", [], "", b""))

    queue.put_back(batch)

    assert queue.take(0)[0] == [other]
    assert ended.state is JobState.DONE
    assert queue.size_bytes == 0


def test_repr_shows_how_full_it_is(fill):
    queue = new_queue(capacity=5)
    fill(queue, 0, 0)

    assert repr(queue) == "<BatchQueue 2/5 jobs, 2 bytes>"


# -- solo jobs


@pytest.fixture
def mixed(new_job):
    """A queue with jobs by name; those in capitals are solo jobs."""

    def make(names, **arguments):
        queue = new_queue(**arguments)
        for name in names:
            queue.put(new_job(name, kind=SoloJob if name.isupper() else Job))
        return queue

    return make


def take_all(queue):
    batches = []
    while len(queue):
        batch, _ = queue.take(0.0)
        batches.append("".join(job.row.request_id for job in batch))
    return batches


@pytest.mark.parametrize(
    ("names", "batches"),
    [
        ("abDcd", ["ab", "D", "cd"]),
        ("Dab", ["D", "ab"]),
        ("DEa", ["D", "E", "a"]),
        ("abcdE", ["abcd", "E"]),
        ("abcdeF", ["abcd", "e", "F"]),
    ],
)
def test_a_solo_job_is_a_batch_of_its_own(mixed, names, batches):
    assert take_all(mixed(names, batch_size=4)) == batches


def test_a_solo_job_closes_the_batch_before_it_at_once(mixed):
    assert not mixed("ab", batch_size=4, max_delay_s=10).is_due(0.0)
    assert mixed("abD", batch_size=4, max_delay_s=10).is_due(0.0)


def test_a_solo_job_that_left_closes_nothing(mixed, new_job):
    queue = mixed("a", batch_size=4, max_delay_s=10)
    solo = new_job("D", kind=SoloJob)
    queue.put(solo)

    solo.cancel()

    assert not queue.is_due(0.0)
    assert not queue.begins_with_solo


def test_an_expired_solo_job_does_not_take_its_place(new_job):
    queue = new_queue(batch_size=4)
    for name, deadline in (("a", None), ("D", 1.0), ("b", None)):
        queue.put(new_job(name, deadline=deadline, kind=SoloJob if name == "D" else Job))

    batch, expired = queue.take(2.0)

    assert [job.row.request_id for job in batch] == ["a", "b"]
    assert [job.row.request_id for job in expired] == ["D"]
    assert not queue.begins_with_solo


def test_solo_jobs_are_counted_through_returns_and_drains(mixed, new_job):
    queue = mixed("D", batch_size=4, max_delay_s=10)
    batch, _ = queue.take(0.0)

    queue.put_back(batch)
    assert queue.begins_with_solo
    queue.drain()
    queue.put(new_job("a"))

    assert not queue.is_due(0.0)


def test_fewer_jobs_may_be_asked_for(fill):
    queue = new_queue(batch_size=4)
    fill(queue, 0, 0, 0)

    batch, _ = queue.take(0.0, 2)

    assert len(batch) == 2
