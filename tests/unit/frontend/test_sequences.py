"""The rules of sequences; time and owners are plain values."""

from __future__ import annotations

import math

import pytest

from tsl.frontend import sequences
from tsl.frontend.batching import BatchPolicy
from tsl.frontend.jobs import JobState, SoloJob
from tsl.frontend.sequence_headers import SequenceHeaders
from tsl.frontend.sequences import SequenceQueue
from tsl.protocol.errors import QueueFull
from tsl.protocol.frames import Reply

HEADERS = SequenceHeaders("seq", "start", "end")


def new_queue(**settings):
    return SequenceQueue(
        **{
            "headers": HEADERS,
            "capacity_bytes": 10**6,
            "batch_size": 4,
            "max_delay_s": 1.0,
            "max_sequences": 4,
            "max_waiting": 3,
            "max_idle_s": 60.0,
            **settings,
        }
    )


@pytest.fixture
def put(new_job):
    """Puts jobs ``a1`` or ``a1!``: the letter is the sequence, ``!`` marks the last one."""

    def make(queue, *names, now=0.0, **arguments):
        jobs = []
        for name in names:
            headers = [b"seq", name[:1].encode(), *([b"end", b"true"] if "!" in name else [])]
            jobs.append(new_job(name, now=now, headers=headers, **arguments))
            queue.put(jobs[-1])
        return jobs

    return make


def take(queue, owner, now=0.0, limit=0):
    """The names of an owner's next batch, and the jobs."""
    batch, _ = queue.take(owner, now, limit)
    for job in batch:
        job.state = JobState.SENT
        job.queue = None
    return [job.row.request_id for job in batch], batch


def finish(queue, jobs, now=0.0, headers=()):
    for job in jobs:
        job.finish(Reply(0, "", list(headers), "", b""))
    queue.answered(jobs, now)


# -- refusing


def test_there_are_only_so_many_sequences(put):
    queue = new_queue(max_sequences=2)
    put(queue, "a1", "b1", "a2")

    with pytest.raises(QueueFull, match="serves 2 sequences already") as caught:
        put(queue, "c1")

    assert "maxNumSequence" in caught.value.hint
    assert len(queue) == 3


def test_only_so_many_jobs_of_a_sequence_wait(put):
    queue = new_queue(max_waiting=2)
    put(queue, "a1", "a2", "b1")

    with pytest.raises(QueueFull, match="2 requests of the sequence") as caught:
        put(queue, "a3")

    assert "maxSequenceJobQueueSize" in caught.value.hint


def test_a_job_that_the_owner_has_does_not_wait(put):
    queue = new_queue(max_waiting=1)
    put(queue, "a1")
    queue.bind(["w"])
    take(queue, "w")

    put(queue, "a2")

    assert len(queue) == 1


def test_bytes_are_limited(put):
    queue = new_queue(capacity_bytes=10)
    put(queue, "a1", body=b"x" * 20)

    with pytest.raises(QueueFull, match="20 bytes"):
        put(queue, "b1")

    assert queue.size_bytes == 20


def test_the_capacity_is_that_of_all_sequences():
    assert new_queue(max_sequences=4, max_waiting=3).capacity == 12


# -- binding


def test_sequences_go_to_the_owner_that_has_the_fewest(put):
    queue = new_queue(max_sequences=6)
    put(queue, "a1", "b1", "c1", "d1")

    queue.bind(["v", "w"])

    assert take(queue, "v")[0] == ["a1", "c1"]
    assert take(queue, "w")[0] == ["b1", "d1"]


def test_an_owner_has_only_so_many_places(put):
    queue = new_queue()
    queue.places = 2
    put(queue, "a1", "b1", "c1")

    queue.bind(["w"])
    assert take(queue, "w")[0] == ["a1", "b1"]
    queue.bind(["v"])

    assert take(queue, "v")[0] == ["c1"]


def test_a_sequence_waits_until_somebody_can_take_it(put):
    queue = new_queue()
    put(queue, "a1")

    queue.bind([])

    assert not queue.is_due_for("w", 100)
    assert queue.due_at_for("w") == math.inf
    assert take(queue, "w") == ([], [])


def test_a_sequence_stays_with_its_owner(put):
    queue = new_queue()
    put(queue, "a1")
    queue.bind(["v"])
    finish(queue, take(queue, "v")[1])

    put(queue, "a2")
    queue.bind(["w"])

    assert take(queue, "w")[0] == []
    assert take(queue, "v")[0] == ["a2"]


# -- batches


def test_a_batch_has_at_most_one_job_of_a_sequence_in_order(put):
    queue = new_queue()
    put(queue, "a1", "a2", "b1", "a3", "b2")
    queue.bind(["w"])

    names = []
    while True:
        batch, jobs = take(queue, "w")
        if not batch:
            break
        names.append(batch)
        finish(queue, jobs)

    assert names == [["a1", "b1"], ["a2", "b2"], ["a3"]]


def test_nothing_of_a_sequence_is_handed_out_while_a_job_of_it_is_out(put):
    queue = new_queue()
    put(queue, "a1", "a2")
    queue.bind(["w"])
    take(queue, "w")

    assert not queue.is_due_for("w", 100)
    assert take(queue, "w")[0] == []


def test_a_batch_is_no_larger_than_the_batch_size(put):
    queue = new_queue(batch_size=2)
    put(queue, "a1", "b1", "c1")
    queue.bind(["w"])

    assert take(queue, "w")[0] == ["a1", "b1"]
    assert take(queue, "w")[0] == ["c1"]


def test_a_batch_is_no_larger_than_it_may_be_in_bytes(put, monkeypatch):
    monkeypatch.setattr(sequences, "MAX_BATCH_BYTES", 10)
    queue = new_queue()
    put(queue, "a1", "b1", body=b"x" * 6)
    queue.bind(["w"])

    assert take(queue, "w")[0] == ["a1"]
    assert take(queue, "w")[0] == ["b1"]


def test_expired_jobs_are_met_on_the_way_and_not_handed_out(put):
    queue = new_queue()
    late = put(queue, "a1", deadline=5.0)
    put(queue, "a2", "b1")
    queue.bind(["w"])

    batch, expired = queue.take("w", 5.0)

    assert expired == late
    assert [job.row.request_id for job in batch] == ["a2", "b1"]
    assert len(queue) == 0


# -- when a batch is due


def test_a_batch_is_due_when_its_window_closes(put):
    queue = new_queue()
    put(queue, "a1", now=10.0)
    put(queue, "b1", now=10.5)
    queue.bind(["w"])

    assert not queue.is_due_for("w", 10.9)
    assert queue.due_at_for("w") == 11.0
    assert queue.is_due_for("w", 11.0)


def test_a_full_batch_is_due(put):
    queue = new_queue(batch_size=2)
    put(queue, "a1", "b1")
    queue.bind(["w"])

    assert queue.is_due_for("w", 0.0)


def test_a_batch_that_nobody_can_join_is_due(put):
    """All places of the owner are taken, and each of its sequences has a job in the batch."""
    queue = new_queue()
    queue.places = 2
    put(queue, "a1", "b1", "c1")
    queue.bind(["w"])

    assert queue.is_due_for("w", 0.0)


def test_an_eager_queue_never_waits(put):
    queue = new_queue(policy=BatchPolicy.EAGER)
    put(queue, "a1")
    queue.bind(["w"])

    assert queue.is_due_for("w", 0.0)


def test_what_a_full_batch_left_behind_is_due_from_its_own_arrival(put):
    queue = new_queue(batch_size=2)
    put(queue, "a1", "b1", now=10.0)
    put(queue, "c1", now=10.5)
    queue.bind(["w"])

    take(queue, "w", 10.5)

    assert queue.due_at_for("w") == 11.5


def test_a_window_whose_only_job_leaves_is_no_window(put):
    queue = new_queue()
    (job,) = put(queue, "a1")
    queue.bind(["w"])

    job.cancel()

    assert not queue.is_due_for("w", 100)
    assert queue.due_at_for("w") == math.inf


# -- descriptions


def test_a_job_that_belongs_to_no_sequence_is_alone_in_its_batch(put, new_job):
    queue = new_queue(max_sequences=2)
    put(queue, "a1")
    queue.put(new_job("d", kind=SoloJob))
    put(queue, "b1")
    queue.bind(["w"])

    assert queue.is_due_for("w", 0.0)
    assert take(queue, "w")[0] == ["a1"]
    assert queue.begins_with_solo("w")
    names, jobs = take(queue, "w")
    finish(queue, jobs)
    assert names == ["d"]
    assert not queue.begins_with_solo("w")
    assert take(queue, "w")[0] == ["b1"]


def test_it_needs_no_place(put, new_job):
    queue = new_queue()
    queue.places = 1
    put(queue, "a1", "b1")
    queue.put(new_job("d", kind=SoloJob))

    queue.bind(["w"])

    assert take(queue, "w")[0] == ["a1"]
    assert take(queue, "w")[0] == ["d"]


# -- ends


def test_a_silent_sequence_ends_and_frees_its_place(put):
    queue = new_queue(max_sequences=1)
    put(queue, "a1", now=10.0)
    queue.bind(["w"])
    finish(queue, take(queue, "w")[1], now=12.0)

    assert queue.next_end() == 72.0
    assert queue.expire(71.9) == []
    with pytest.raises(QueueFull):
        put(queue, "b1", now=71.9)
    assert queue.expire(72.0) == []

    put(queue, "b1", now=72.0)
    assert repr(queue) == "<SequenceQueue 1/1 sequences, 1 jobs>"


def test_a_sequence_that_works_or_waits_is_not_silent(put):
    queue = new_queue()
    put(queue, "a1", "b1", "b2")
    queue.bind(["w"])
    take(queue, "w")

    assert queue.next_end() == math.inf
    queue.expire(1e9)

    put(queue, "a2")
    assert len(queue) == 2


def test_a_sequence_ends_when_it_is_old(put):
    queue = new_queue(timeout_s=30.0, max_sequences=1)
    put(queue, "a1", now=10.0)
    queue.bind(["w"])
    finish(queue, take(queue, "w")[1], now=11.0)
    waiting = put(queue, "a2", "a3", now=12.0)

    assert queue.next_end() == 40.0
    assert queue.expire(40.0) == waiting

    assert len(queue) == 0
    put(queue, "b1", now=40.0)


def test_an_old_sequence_keeps_its_place_until_its_owner_has_given_back_what_it_has(put):
    queue = new_queue(timeout_s=30.0, max_sequences=1)
    put(queue, "a1", now=10.0)
    queue.bind(["w"])
    _, jobs = take(queue, "w")
    lost = put(queue, "a2", now=20.0)

    assert queue.expire(40.0) == lost
    put(queue, "a3", now=41.0)
    assert take(queue, "w", 41.0)[0] == []
    assert queue.expire(71.0) == []
    finish(queue, jobs, now=72.0)

    queue.bind(["v"])
    assert take(queue, "v", 72.0)[0] == ["a3"]


def test_the_client_may_end_it(put):
    queue = new_queue(max_sequences=1)
    put(queue, "a1", "a2!")
    queue.bind(["w"])
    finish(queue, take(queue, "w")[1])
    with pytest.raises(QueueFull):
        put(queue, "b1")

    finish(queue, take(queue, "w")[1])

    put(queue, "b1")


def test_what_comes_after_the_last_request_is_the_next_sequence_of_that_id(put):
    queue = new_queue(max_sequences=1)
    put(queue, "a1!", "a2", now=10.0)
    queue.bind(["v"])
    _, jobs = take(queue, "v")
    put(queue, "a3", now=11.0)
    assert take(queue, "v")[0] == []

    finish(queue, jobs, now=12.0)
    assert take(queue, "v")[0] == []
    queue.bind(["w"])

    assert take(queue, "w")[0] == ["a2"]


def test_the_handler_may_end_its_own_sequence(put):
    queue = new_queue(max_sequences=1)
    put(queue, "a1")
    queue.bind(["w"])

    finish(queue, take(queue, "w")[1], headers=["end", "a"])

    put(queue, "b1")


def test_the_handler_may_end_another_sequence(put):
    queue = new_queue(max_sequences=2)
    put(queue, "a1", "b1")
    queue.bind(["w"])
    finish(queue, take(queue, "w")[1])
    put(queue, "a2")

    finish(queue, take(queue, "w")[1], headers=["end", "b"])

    put(queue, "c1")
    assert len(queue) == 1


def test_the_handler_may_end_a_sequence_for_which_something_waits(put):
    queue = new_queue(max_sequences=2)
    put(queue, "a1", "b1")
    queue.bind(["w"])
    finish(queue, take(queue, "w")[1])
    put(queue, "a2", "b2")

    queue.end("b")

    assert take(queue, "w")[0] == ["a2"]
    queue.bind(["v"])
    assert take(queue, "v")[0] == ["b2"]


def test_an_end_of_something_unknown_is_nothing():
    queue = new_queue()

    queue.end("a")

    assert len(queue) == 0


def test_a_sequence_all_of_whose_jobs_left_before_anybody_took_it_is_gone(put):
    queue = new_queue(max_sequences=1)
    for job in put(queue, "a1", "a2"):
        assert job.cancel()

    put(queue, "b1")
    assert len(queue) == 1


def test_a_sequence_whose_last_waiting_job_leaves_is_silent_from_then_on(put):
    queue = new_queue()
    put(queue, "a1", now=10.0)
    queue.bind(["w"])
    finish(queue, take(queue, "w")[1], now=11.0)
    (job,) = put(queue, "a2", now=50.0)

    job.cancel()

    assert queue.next_end() == 110.0


# -- jobs that need several calls


def test_the_next_job_of_a_sequence_is_released_when_the_one_before_had_a_call(put):
    """As in continuous batches, where a request can stop what another one of it has begun."""
    queue = new_queue(max_sequences=1)
    put(queue, "a1", "a2", "a3")
    queue.bind(["w"])
    _, first = take(queue, "w")

    queue.answered(first, 0.0)
    names, second = take(queue, "w")
    assert names == ["a2"]
    assert take(queue, "w")[0] == []
    queue.answered(first + second, 0.0)

    assert take(queue, "w")[0] == ["a3"]


def test_a_sequence_with_a_job_that_goes_on_is_not_silent(put):
    queue = new_queue()
    put(queue, "a1")
    queue.bind(["w"])
    _, jobs = take(queue, "w")

    queue.answered(jobs, 0.0)
    assert queue.next_end() == math.inf
    finish(queue, jobs, now=5.0)

    assert queue.next_end() == 65.0


# -- owners


def test_the_sequences_of_a_lost_owner_end_with_it(put):
    queue = new_queue(max_sequences=2)
    put(queue, "a1", "b1", "a2")
    queue.bind(["w"])
    _, jobs = take(queue, "w")
    (waiting,) = (job for job in put(queue, "b2"))

    lost = queue.lose("w")

    assert [job.row.request_id for job in lost] == ["a2", "b2"]
    assert waiting in lost
    finish(queue, jobs)  # too late to matter
    put(queue, "c1", "d1")
    assert len(queue) == 2


def test_pending_sequences_survive_the_loss_of_an_owner(put):
    queue = new_queue()
    queue.places = 1
    put(queue, "a1", "b1")
    queue.bind(["w"])

    queue.lose("w")
    queue.bind(["v"])

    assert take(queue, "v")[0] == ["b1"]


def test_losing_an_owner_that_has_nothing():
    assert new_queue().lose("w") == []


def test_draining_ends_everything(put, new_job):
    queue = new_queue()
    put(queue, "b1", now=2.0)
    put(queue, "a1", "a2", now=1.0)
    queue.bind(["w"])
    _, jobs = take(queue, "w")
    put(queue, "c1", now=3.0)
    queue.put(new_job("d", now=4.0, kind=SoloJob))
    queue.bind(["w"])

    drained = queue.drain()

    assert [job.row.request_id for job in drained] == ["a2", "c1", "d"]
    assert len(queue) == queue.size_bytes == 0
    finish(queue, jobs)
    assert queue.next_end() == math.inf
    assert queue.is_due(0.0)
