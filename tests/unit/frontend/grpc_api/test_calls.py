from __future__ import annotations

import asyncio

import pytest

from tsl.frontend.grpc_api.calls import (
    HIGH_WATER,
    Outbox,
    StreamAnswer,
    StreamPieces,
    UnaryAnswer,
)
from tsl.frontend.jobs import Job
from tsl.protocol.errors import HandlerFailed, JobCancelled
from tsl.protocol.frames import Chunk, Reply, Row


class Stats:
    def __init__(self):
        self.seen = []

    def answered(self, job, status):
        self.seen.append(("answered", status))

    def streamed(self, job):
        self.seen.append("streamed")

    def failed(self, job, error):
        self.seen.append(("failed", type(error)))


class Channel:
    def __init__(self):
        self.paused = 0

    def pause_reading(self):
        self.paused += 1

    def resume_reading(self):
        self.paused -= 1

    def cancel(self, batch, job):
        pass


def reply(body=b""):
    return Reply(0, "", [], "", memoryview(body))


def piece(body):
    return Chunk(1, 0, 0, "", [], memoryview(body))


def make(cls):
    stats = Stats()
    sink = cls(stats)
    job = Job(Row("id", [], [], []), sink, 1.0)
    job.channel = Channel()
    return sink, job, stats


def run(coroutine):
    return asyncio.run(coroutine)


class Call:
    """What a sink needs of a call."""

    def __init__(self):
        self.said = []
        self.is_congested = False
        self.on_drained = None

    def respond_bytes(self, data):
        self.said.append(("respond", data))

    def send(self, message):
        self.said.append(("send", message))

    def finish(self):
        self.said.append("finish")

    def fail(self, error):
        self.said.append(("fail", type(error)))


def answering(cls, make=bytes):
    call, stats = Call(), Stats()
    job = Job(Row("id", [], [], []), cls(call, stats, make), 1.0)
    job.channel = Channel()
    return call, job, stats


def test_an_answer_and_the_pieces_before_it_are_one():
    call, job, stats = answering(UnaryAnswer)
    job.stream(piece(b"a"))
    job.finish(reply(b"b"))

    assert call.said == [("respond", b"ab")]
    assert stats.seen == [("answered", 200)]


def test_an_answer_that_cannot_be_made_a_message_is_an_error():
    def make(body):
        raise HandlerFailed

    call, job, _ = answering(UnaryAnswer, make)
    job.finish(reply(b"b"))

    assert call.said == [("fail", HandlerFailed)]


@pytest.mark.parametrize("cls", [UnaryAnswer, StreamAnswer])
def test_a_failure_and_a_withdrawal_are_told(cls):
    call, job, stats = answering(cls)
    job.fail(HandlerFailed())
    other, gone, _ = answering(cls)
    gone.cancel()

    assert call.said == [("fail", HandlerFailed)]
    assert stats.seen == [("failed", HandlerFailed)]
    assert other.said == [("fail", JobCancelled)]


def test_a_stream_is_answered_piece_by_piece():
    call, job, stats = answering(StreamAnswer)
    for body in (b"a", b"b"):
        job.stream(piece(body))
    job.finish(reply(b""))

    assert call.said == [("send", b"a"), ("send", b"b"), "finish"]
    assert stats.seen == [("answered", 200), "streamed"]


def test_one_answer_to_a_call_for_a_stream_is_a_message_even_if_it_is_empty():
    call, job, _ = answering(StreamAnswer)
    job.finish(reply(b""))

    assert call.said == [("send", b""), "finish"]


@pytest.mark.parametrize("end", ["drained", "finish", "fail", "cancel"])
def test_a_stream_holds_its_worker_up_while_the_client_is_slow(end):
    call, job, _ = answering(StreamAnswer)
    channel = job.channel
    job.stream(piece(b"a"))
    assert channel.paused == 0
    call.is_congested = True
    job.stream(piece(b"b"))
    job.stream(piece(b"c"))
    assert channel.paused == 1

    if end == "drained":
        call.on_drained()
    elif end == "finish":
        job.finish(reply())
    elif end == "fail":
        job.fail(HandlerFailed())
    else:
        job.cancel()

    assert channel.paused == 0


async def all_of(call):
    return [piece async for piece in call.pieces()]


def test_pieces_come_in_order_and_an_empty_end_is_none():
    async def scenario():
        call, job, stats = make(StreamPieces)
        reading = asyncio.create_task(all_of(call))
        await asyncio.sleep(0)
        for body in (b"a", b"", b"c"):
            job.stream(piece(body))
        job.finish(reply(b""))
        return await reading, stats.seen

    assert run(scenario()) == ([b"a", b"", b"c"], [("answered", 200), "streamed"])


def test_an_answer_without_pieces_is_one_even_if_it_is_empty():
    async def scenario():
        call, job, _ = make(StreamPieces)
        job.finish(reply(b""))
        return await all_of(call)

    assert run(scenario()) == [b""]


def test_an_error_comes_behind_the_pieces_before_it():
    async def scenario():
        call, job, _ = make(StreamPieces)
        job.stream(piece(b"a"))
        job.fail(HandlerFailed())
        pieces = call.pieces()
        assert await anext(pieces) == b"a"
        with pytest.raises(HandlerFailed):
            await anext(pieces)

    run(scenario())


def test_a_slow_client_holds_its_worker_up_until_it_has_caught_up():
    async def scenario():
        call, job, _ = make(StreamPieces)
        channel = job.channel
        for _ in range(HIGH_WATER + 5):
            job.stream(piece(b"x"))
        assert channel.paused == 1
        pieces = call.pieces()
        for _ in range(HIGH_WATER // 2 + 5):
            await anext(pieces)
        assert channel.paused == 1
        await anext(pieces)
        assert channel.paused == 0

    run(scenario())


@pytest.mark.parametrize("end", ["finish", "fail", "release"])
def test_a_worker_is_never_held_up_for_a_stream_that_is_over(end):
    async def scenario():
        call, job, _ = make(StreamPieces)
        channel = job.channel
        for _ in range(HIGH_WATER):
            job.stream(piece(b"x"))
        if end == "release":
            call.release()
        elif end == "finish":
            job.finish(reply())
        else:
            job.fail(HandlerFailed())
        return channel.paused

    assert run(scenario()) == 0


def test_an_outbox_is_bounded_and_ends_when_it_is_closed_and_empty():
    async def scenario():
        box = Outbox()

        async def produce():
            for number in range(HIGH_WATER * 3):
                await box.put(number)
            box.close()

        producing = asyncio.create_task(produce())
        await asyncio.sleep(0)
        assert not producing.done()
        return [item async for item in box.items()]

    assert run(scenario()) == list(range(HIGH_WATER * 3))
