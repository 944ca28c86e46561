from __future__ import annotations

import asyncio

import pytest

from tsl.frontend.grpc_api.calls import HIGH_WATER, Outbox, StreamCall, UnaryCall
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


def test_an_answer_and_the_pieces_before_it_are_one():
    async def scenario():
        call, job, stats = make(UnaryCall)
        job.stream(piece(b"a"))
        job.finish(reply(b"b"))
        return await call.answer(), stats.seen

    assert run(scenario()) == (b"ab", [("answered", 200)])


def test_a_failure_is_raised_where_the_answer_is_awaited():
    async def scenario():
        call, job, stats = make(UnaryCall)
        job.fail(HandlerFailed())
        with pytest.raises(HandlerFailed):
            await call.answer()
        return stats.seen

    assert run(scenario()) == [("failed", HandlerFailed)]


def test_a_job_that_is_cancelled_with_its_call_disturbs_nobody():
    async def scenario():
        call, job, stats = make(UnaryCall)
        waiting = asyncio.create_task(call.answer())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert job.cancel()
        return stats.seen

    assert run(scenario()) == [("failed", JobCancelled)]


async def all_of(call):
    return [piece async for piece in call.pieces()]


def test_pieces_come_in_order_and_an_empty_end_is_none():
    async def scenario():
        call, job, stats = make(StreamCall)
        reading = asyncio.create_task(all_of(call))
        await asyncio.sleep(0)
        for body in (b"a", b"", b"c"):
            job.stream(piece(body))
        job.finish(reply(b""))
        return await reading, stats.seen

    assert run(scenario()) == ([b"a", b"", b"c"], [("answered", 200), "streamed"])


def test_an_answer_without_pieces_is_one_even_if_it_is_empty():
    async def scenario():
        call, job, _ = make(StreamCall)
        job.finish(reply(b""))
        return await all_of(call)

    assert run(scenario()) == [b""]


def test_an_error_comes_behind_the_pieces_before_it():
    async def scenario():
        call, job, _ = make(StreamCall)
        job.stream(piece(b"a"))
        job.fail(HandlerFailed())
        pieces = call.pieces()
        assert await anext(pieces) == b"a"
        with pytest.raises(HandlerFailed):
            await anext(pieces)

    run(scenario())


def test_a_slow_client_holds_its_worker_up_until_it_has_caught_up():
    async def scenario():
        call, job, _ = make(StreamCall)
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
        call, job, _ = make(StreamCall)
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
