"""A job has exactly one end, whoever comes first."""

from __future__ import annotations

import pytest

from tsl.frontend.batching import BatchQueue
from tsl.frontend.jobs import Job, JobState
from tsl.protocol.errors import DeadlineExceeded, HandlerFailed, JobCancelled
from tsl.protocol.frames import Chunk, Part, Reply, Row

REPLY = Reply(200, "", [], "", b"yes")
CHUNK = Chunk(1, 0, 0, "", [], b"piece")
ENDS = {
    "finish": lambda job: job.finish(REPLY),
    "fail": lambda job: job.fail(HandlerFailed()),
    "expire": lambda job: job.expire(),
    "cancel": lambda job: job.cancel(),
}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
another_end = pytest.mark.parametrize("late", ENDS.values(), ids=ENDS.keys())


class FakeChannel:
    def __init__(self):
        self.cancelled = []

    def cancel(self, batch, job):
        self.cancelled.append((batch, job))


class FakeTimer:
    def __init__(self):
        self.is_cancelled = False

    def cancel(self):
        self.is_cancelled = True


def queue_with(*jobs):
    queue = BatchQueue(capacity=10, capacity_bytes=1000, batch_size=10)
    for job in jobs:
        queue.put(job)
    return queue


def sent(job):
    channel, batch = FakeChannel(), object()
    job.state, job.channel, job.batch = JobState.SENT, channel, batch
    return channel, batch


@every_end
@another_end
def test_only_the_first_end_is_heard(new_job, end, late):
    job = new_job()

    assert end(job)
    assert not late(job)

    assert len(job.sink.ends) == 1
    assert job.is_settled


@pytest.mark.parametrize(
    ("end", "state"),
    [("finish", JobState.DONE), ("fail", JobState.FAILED), ("expire", JobState.EXPIRED),
     ("cancel", JobState.CANCELLED)],
)  # fmt: skip
def test_each_end_has_its_state(new_job, end, state):
    job = new_job()

    ENDS[end](job)

    assert job.state is state
    assert repr(job) == f"<Job job {state.name}>"


def test_the_sink_hears_what_happened(new_job):
    done, failed, expired, cancelled = (new_job(name) for name in "abcd")
    error = HandlerFailed()

    done.finish(REPLY)
    failed.fail(error)
    expired.expire()
    cancelled.cancel()

    assert done.sink.events == [("finish", REPLY)]
    assert failed.sink.events == [("fail", error)]
    assert type(expired.sink.error) is DeadlineExceeded
    assert type(cancelled.sink.error) is JobCancelled


@every_end
def test_an_end_lets_go_of_everything(new_job, end):
    job = new_job()
    queue_with(job)
    sent(job)
    timer = job.timer = FakeTimer()

    end(job)

    assert (job.queue, job.batch, job.channel, job.timer) == (None, None, None, None)
    assert timer.is_cancelled


# -- withdrawing


@pytest.mark.parametrize("end", ["expire", "cancel"])
def test_a_queued_job_that_is_withdrawn_leaves_its_queue(new_job, end):
    jobs = [new_job(name) for name in "abc"]
    queue = queue_with(*jobs)

    ENDS[end](jobs[1])

    assert queue.take(0.0)[0] == [jobs[0], jobs[2]]


@pytest.mark.parametrize("end", ["expire", "cancel"])
def test_the_worker_is_told_about_a_sent_job_that_is_withdrawn(new_job, end):
    job = new_job()
    channel, batch = sent(job)

    ENDS[end](job)

    assert channel.cancelled == [(batch, job)]


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_the_worker_is_not_told_about_an_answer(new_job, end):
    job = new_job()
    channel, _ = sent(job)

    ENDS[end](job)

    assert channel.cancelled == []


def test_a_settled_job_is_not_withdrawn_again(new_job):
    job = new_job()
    channel, _ = sent(job)
    job.finish(REPLY)

    assert not job.cancel()

    assert channel.cancelled == []


# -- streams


def test_a_stream_goes_on_until_its_end(new_job):
    job = new_job()
    sent(job)

    assert job.stream(CHUNK)
    assert job.state is JobState.STREAMING
    assert job.stream(CHUNK)
    assert job.finish(REPLY)

    assert job.sink.events == [("chunk", CHUNK), ("chunk", CHUNK), ("finish", REPLY)]


@every_end
def test_nothing_is_streamed_after_the_end(new_job, end):
    job = new_job()
    end(job)

    assert not job.stream(CHUNK)

    assert ("chunk", CHUNK) not in job.sink.events


# -- size


@pytest.mark.parametrize(
    ("bodies", "size"), [([], 0), ([b""], 0), ([b"abc"], 3), ([b"abc", b"", b"de"], 5)]
)
def test_the_size_of_a_job_is_that_of_its_bodies(bodies, size):
    row = Row("r", [], [], [Part("n", "", body) for body in bodies])

    assert Job(row, None, 0.0).size_bytes == size
