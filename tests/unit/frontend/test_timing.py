"""Where the time of a request went, told to who asks."""

from __future__ import annotations

import re

import pytest

from tsl.frontend import timing
from tsl.frontend.timing import TimedJob
from tsl.protocol.frames import Chunk, Reply, Row


class Sink:
    def __init__(self):
        self.headers = []

    def finish(self, job, reply):
        self.headers.append(reply.headers)

    def chunk(self, job, chunk):
        self.headers.append(chunk.headers)

    def fail(self, job, error):
        raise error


@pytest.fixture
def job(monkeypatch):
    """Arrived at 10.0, sent at 10.25; the handler took half a second of the one until 11.25."""
    monkeypatch.setattr(timing, "monotonic", lambda: 11.25)
    made = TimedJob(Row("r", [], [], []), Sink(), 10.0)
    made.sent_at = 10.25
    made.batch = type("Batch", (), {"service_us": 500_000})()
    return made


def test_an_answer_has_every_stage(job):
    assert job.finish(Reply(200, "", ["x", "y"], "", b"ok"))

    assert job.sink.headers == [
        [
            "x", "y", "Server-Timing",
            "queue;dur=250.000, handler;dur=500.000, transfer;dur=500.000, total;dur=1250.000",
        ]
    ]  # fmt: skip


def test_a_stream_says_it_once_with_its_first_piece(job):
    job.stream(Chunk(1, 0, 0, "", [], b"a"))
    job.stream(Chunk(1, 0, 0, "", [], b"b"))
    job.finish(Reply(0, "", [], "", b"c"))

    assert job.sink.headers == [["Server-Timing", "queue;dur=250.000, first;dur=1000.000"], [], []]


def test_a_clock_of_the_worker_that_disagrees_gives_no_negative_time(job):
    job.batch.service_us = 5_000_000

    job.finish(Reply(200, "", [], "", b""))

    assert re.search(r"transfer;dur=0\.000", job.sink.headers[0][1])
