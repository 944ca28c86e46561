"""One connection to a worker, over a fake transport, frame by frame."""

from __future__ import annotations

import socket

import pytest

from tsl.frontend.busy_loop import BusyLoop
from tsl.frontend.jobs import JobState
from tsl.frontend.loop_turn import LoopTurn
from tsl.frontend.shared_line import PATIENCE_BYTES
from tsl.frontend.worker_channel import (
    EARLY_ROWS,
    JOIN_BELOW_BYTES,
    SharedBatch,
    StepBatch,
    WorkerChannel,
    fail_all,
)
from tsl.protocol.buffers import SOCKET_BYTES
from tsl.protocol.channel import Side
from tsl.protocol.codec import LARGE_FRAME_BYTES, encode
from tsl.protocol.errors import HandlerFailed, InvalidInput, PredictionError, ProtocolError
from tsl.protocol.frames import (
    Cancel,
    Chunk,
    Failure,
    Hello,
    Load,
    Loaded,
    LoadFailure,
    MetricRecord,
    Metrics,
    Ping,
    Pong,
    Predict,
    Reply,
    Result,
    Shutdown,
)

LOAD = Load("m", "/m", "h", "", 1, -1, True, 1024, False, "")
LIMIT = 1_000_000


class Owner:
    """Notes what the channel says."""

    def __init__(self):
        self.heard = []

    def on_loaded(self, load_ms):
        self.heard.append(("loaded", load_ms))

    def on_load_failed(self, code, reason):
        self.heard.append(("load failed", code, reason))

    def on_free(self, batch, service_us):
        self.heard.append(("free", batch.id, service_us))

    def on_metrics(self, records):
        self.heard.append(("metrics", records))

    def on_channel_lost(self):
        self.heard.append(("lost",))


@pytest.fixture
def peer(world, launcher, listener):
    """A connected and loaded worker; ``peer.channel`` and ``peer.owner`` are the front end's."""
    owner = Owner()

    def claim(channel, hello):
        if hello.token != "secret":
            raise ProtocolError("not an expected worker")
        return owner, LOAD, LIMIT

    listener._claim = claim
    spec = type("Spec", (), {"worker_id": "w#1", "token": "secret"})
    fake = world.run(launcher.launch(spec, lambda code: None))
    fake.owner = owner
    fake.load()
    fake.channel = fake.transport.protocol
    owner.heard.clear()
    return fake


def is_dropped(world, fake):
    world.advance()
    return fake.transport.is_closed


def send(world, fake, *jobs):
    fake.channel.send_batch(list(jobs), world.now)


def send_in_turn(world, fake, *jobs):
    """Send a batch while something is being handled, as usual."""
    turn = fake.channel._turn
    turn.begin()
    send(world, fake, *jobs)
    turn.end()


# -- the beginning


def test_hello_is_answered_with_load(peer):
    assert peer.received == [LOAD]
    assert peer.channel.is_serving
    assert repr(peer.channel) == "<WorkerChannel SERVING 0 in flight>"


def test_the_socket_holds_a_large_body(peer):
    option = socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES
    assert peer.transport.options == [option]


def test_a_stranger_is_dropped_and_sees_nothing(world, launcher, peer):
    spec = type("Spec", (), {"worker_id": "w#1", "token": "guess"})
    stranger = world.run(launcher.launch(spec, lambda code: None))

    stranger.connect()

    assert is_dropped(world, stranger)
    assert stranger.received == []
    assert peer.owner.heard == []


def test_a_connection_that_goes_before_its_hello_concerns_nobody(peer):
    channel = WorkerChannel(lambda channel, hello: None, LoopTurn(), BusyLoop())

    channel.connection_lost(None)

    assert channel.is_lost
    assert peer.owner.heard == []


def test_until_the_hello_frames_must_be_small(world, launcher, peer):
    spec = type("Spec", (), {"worker_id": "w#1", "token": "x" * 100})
    stranger = world.run(launcher.launch(spec, lambda code: None))
    stranger.connect()

    stranger.send_bytes(b"\xff" * 8)

    assert is_dropped(world, stranger)


@pytest.mark.parametrize(
    ("frame", "heard"),
    [
        (Loaded(5.0), ("loaded", 5.0)),
        (LoadFailure("load_failed", "why"), ("load failed", "load_failed", "why")),
    ],
)
def test_the_owner_hears_the_outcome_of_loading(world, launcher, peer, frame, heard):
    fake = world.run(launcher.launch(peer.spec, lambda code: None))
    fake.connect()
    assert not fake.transport.protocol.is_serving

    fake.send(frame)

    assert peer.owner.heard == [heard]


# -- batches


def test_a_batch_travels_and_its_jobs_are_sent(world, peer, new_job):
    jobs = [new_job("a"), new_job("b")]

    send(world, peer, *jobs)

    assert peer.batches == [["a", "b"]]
    assert [job.state for job in jobs] == [JobState.SENT] * 2
    assert [job.sent_at for job in jobs] == [world.now] * 2
    assert peer.channel.in_flight == 1


def test_a_small_batch_leaves_at_the_turn_s_end(listener, peer, new_job):
    listener._turn.begin()
    peer.channel.send_batch([new_job("a"), new_job("b")], 0.0)
    assert peer.batches == []

    listener._turn.end()

    assert peer.batches == [["a", "b"]]


def test_a_large_batch_does_not_wait_for_the_turn_s_end(listener, peer, new_job):
    names = [str(number) for number in range(EARLY_ROWS)]
    listener._turn.begin()
    peer.channel.send_batch([new_job("first")], 0.0)

    peer.channel.send_batch([new_job(name) for name in names], 0.0)

    assert peer.batches == [["first"], names]
    listener._turn.end()
    assert peer.batches == [["first"], names]


class Waits:
    """Notes what the loop is to stay awake for."""

    limit_s = 0.001
    quick_us = 500

    def __init__(self, channel):
        self.begun = 0
        self.ended = 0
        channel._busy_loop = self

    def expect(self, polling):
        self.begun += 1

    def arrived(self, polling):
        self.ended += 1


def test_the_loop_stays_awake_for_a_quick_model(world, peer, new_job):
    waits = Waits(peer.channel)
    send_in_turn(world, peer, new_job("a"))
    assert waits.begun == 0  # nothing is known yet
    peer.answer(1, b"A", service_us=500)

    send_in_turn(world, peer, new_job("b"))
    peer.answer(2, b"B", service_us=501)
    assert (waits.begun, waits.ended) == (1, 2)

    send_in_turn(world, peer, new_job("c"))
    assert waits.begun == 1


def test_the_loop_does_not_stay_awake_when_there_is_more_to_do(world, peer, new_job):
    waits = Waits(peer.channel)
    send_in_turn(world, peer, new_job("a"))
    peer.answer(1, b"A", service_us=5)

    send_in_turn(world, peer, new_job("b"), new_job("c"))
    send_in_turn(world, peer, new_job("d"))
    peer.channel._turn.begin()
    peer.answer(2, b"B", b"C")
    peer.answer(3, b"D")
    peer.channel.send_batch([new_job("e")], world.now)
    peer.channel.send_batch([new_job("f")], world.now)
    peer.channel._turn.end()

    assert waits.begun == 0


def test_each_job_gets_its_own_answer(world, peer, new_job):
    a, b = new_job("a"), new_job("b")
    send(world, peer, a, b)

    peer.answer(1, b"A", b"B", service_us=77)

    assert (a.sink.body, b.sink.body) == (b"A", b"B")
    assert peer.owner.heard == [("free", 1, 77)]
    assert peer.channel.in_flight == 0


def test_one_row_fails_and_its_neighbour_does_not(world, peer, new_job):
    a, b, c = new_job("a"), new_job("b"), new_job("c")
    send(world, peer, a, b, c)

    peer.send(
        Result(
            1,
            5,
            [
                Reply(0, "", [], "invalid_input", "schön".encode()),
                Reply(0, "", [], "", b"B"),
                Reply(418, "", [], "prediction_error", b"tea"),
            ],
        )
    )

    assert type(a.sink.error) is InvalidInput
    assert a.sink.error.message == "schön"
    assert b.sink.body == b"B"
    assert type(c.sink.error) is PredictionError
    assert c.sink.error.status() == 418


def test_a_failure_is_for_the_whole_batch(world, peer, new_job):
    jobs = [new_job("a"), new_job("b")]
    send(world, peer, *jobs)

    peer.send(Failure(1, "handler_failed", "", 0))

    assert [type(job.sink.error) for job in jobs] == [HandlerFailed] * 2
    assert peer.owner.heard == [("free", 1, None)]


def test_chunks_go_to_their_row_until_the_answer(world, peer, new_job):
    a, b = new_job("a"), new_job("b")
    send(world, peer, a, b)

    peer.stream(1, 1, b"piece")
    peer.answer(1, b"A", b"B")

    assert [kind for kind, _ in a.sink.events] == ["finish"]
    assert [kind for kind, _ in b.sink.events] == ["chunk", "finish"]


def test_whoever_asks_is_called_when_all_that_was_read_is_handled(world, peer, new_job):
    a = new_job("a")
    send(world, peer, a)
    calls = []
    a.sink.chunk = lambda job, chunk: (
        calls.append(bytes(chunk.body)),
        job.channel.call_after_read(lambda: calls.append("read")),
    )

    peer.send(Chunk(1, 0, 0, "", [], b"one"), Chunk(1, 0, 0, "", [], b"two"))
    peer.send(Chunk(1, 0, 0, "", [], b"three"))

    assert calls == [b"one", b"two", "read", "read", b"three", "read"]


def test_a_large_piece_is_read_into_its_place(world, peer, new_job):
    a = new_job("a")
    send(world, peer, a)
    body = bytes(range(256)) * (LARGE_FRAME_BYTES // 256)

    for at in range(0, len(data := b"".join(encode(Chunk(1, 0, 0, "", [], body)))), 50_000):
        peer.send_bytes(data[at : at + 50_000])
    peer.answer(1, b"end")

    (_, chunk), (kind, _) = a.sink.events
    assert chunk.body == body
    assert kind == "finish"


def test_small_batches_are_one_write_and_large_bodies_are_not_copied(world, peer, new_job):
    large = b"x" * JOIN_BELOW_BYTES
    peer.transport.written.clear()

    send(world, peer, new_job(body=b"small"))
    world.advance()
    send(world, peer, new_job(body=large))
    world.advance()

    small_write, large_write = peer.transport.written
    assert len(small_write) == 1
    assert large_write[-1] is large


def test_what_one_turn_of_the_loop_sends_is_one_write(world, peer, new_job):
    peer.transport.written.clear()

    for name in "abc":
        send(world, peer, new_job(name))
    world.advance()

    assert len(peer.transport.written) == 1
    assert peer.batches == [["a"], ["b"], ["c"]]


def test_what_is_not_yet_written_when_the_connection_ends_is_dropped(world, peer, new_job):
    job = new_job()
    peer.transport.written.clear()

    send(world, peer, job)
    peer.close()
    world.advance()

    assert peer.transport.written == []
    assert peer.channel.lose() == ([job], [])


def test_a_retired_channel_is_read_but_gets_no_batches(world, peer, new_job):
    job = new_job()
    send(world, peer, job)
    world.advance()

    peer.channel.retire()
    assert not peer.channel.is_serving
    peer.answer(1, b"last words")

    assert job.sink.body == b"last words"


def test_metrics_go_to_the_owner(peer):
    records = [MetricRecord("n", "ms", "GAUGE", 1.0, [], "", 1)]

    peer.send(Metrics(records))

    assert peer.owner.heard == [("metrics", records)]


def test_a_ping_is_sent_and_its_answer_disturbs_nobody(peer):
    peer.channel.ping(5)
    peer.send(Pong(5))

    assert peer.received[-1] == Ping(5)
    assert peer.owner.heard == []


# -- withdrawing


def test_the_worker_hears_which_row_was_cancelled(world, peer, new_job):
    a, b = new_job("a"), new_job("b")
    send(world, peer, a, b)

    b.cancel()
    peer.answer(1, b"A", b"B")

    assert peer.received[-1] == Cancel(1, 1)
    assert a.sink.body == b"A"
    assert len(b.sink.ends) == 1


def test_nothing_is_cancelled_after_the_answer(world, peer, new_job):
    job = new_job()
    send(world, peer, job)
    batch = peer.channel.oldest
    peer.answer(1)

    peer.channel.cancel(batch, job)

    assert not any(type(frame) is Cancel for frame in peer.received)


def test_cancelling_over_a_lost_connection_is_no_error(world, peer, new_job):
    job = new_job()
    send(world, peer, job)
    peer.close()

    job.cancel()

    assert len(job.sink.ends) == 1


# -- what a worker must not say


@pytest.mark.parametrize(
    "frames",
    [
        [Result(9, 1, [Reply(0, "", [], "", b"")])],
        [Failure(9, "handler_failed", "", 0)],
        [Failure(1, "no such code", "", 0)],
        [Result(1, 1, [])],
        [Result(1, 1, [Reply(0, "", [], "", b"")] * 3)],
    ],
    ids=["unknown batch", "failure of unknown batch", "unknown code", "no replies", "too many"],
)
def test_a_wrong_answer_drops_the_worker_and_forgets_no_job(world, peer, new_job, frames):
    jobs = [new_job("a"), new_job("b")]
    send(world, peer, *jobs)

    peer.send(*frames)

    assert is_dropped(world, peer)
    assert peer.channel.lose() == (jobs, [])
    assert all(not job.is_settled for job in jobs)


@pytest.mark.parametrize(("batch_id", "row"), [(9, 0), (1, 1), (1, -1)])
def test_a_chunk_for_nobody_drops_the_worker(world, peer, new_job, batch_id, row):
    send(world, peer, new_job())

    peer.stream(batch_id, row, b"piece")

    assert is_dropped(world, peer)


def test_a_row_with_an_unknown_error_leaves_no_job_without_an_end(world, peer, new_job):
    jobs = [new_job(name) for name in "abc"]
    send(world, peer, *jobs)

    replies = [Reply(0, "", [], "", b"A"), Reply(0, "", [], "nope", b""), Reply(0, "", [], "", b"")]
    peer.send(Result(1, 1, replies))
    begun, fresh = peer.channel.lose()

    assert is_dropped(world, peer)
    assert begun + fresh == [job for job in jobs if not job.is_settled]


def test_a_wrong_number_of_replies_keeps_the_batch_the_oldest_one(world, peer, new_job):
    """Only the batch that the worker was at has failed; those behind it were never begun."""
    bad, good = new_job("bad"), new_job("good")
    send(world, peer, bad)
    send(world, peer, good)

    peer.send(Result(1, 1, []))

    assert peer.channel.lose() == ([bad], [good])


@pytest.mark.parametrize("data", [b"\0" * 8, b"\xff" * 8, b"GET / HTTP/1.1\r\n\r\n"])
def test_bytes_that_are_no_frames_drop_the_worker(world, peer, data):
    peer.send_bytes(data)

    assert is_dropped(world, peer)
    assert peer.owner.heard == [("lost",)]


def test_a_frame_out_of_turn_drops_the_worker(world, peer, caplog):
    peer._channel.state = type(peer._channel.state).GREETING
    peer.send(Hello(1, "w#1", "secret", 1))

    assert is_dropped(world, peer)
    assert "Hello from WORKER in state SERVING" in caplog.text


def test_an_answer_above_the_limit_drops_the_worker(world, peer, new_job):
    send(world, peer, new_job())

    peer.answer(1, b"x" * (LIMIT + 1))

    assert is_dropped(world, peer)


# -- the end


def test_shutdown_is_said_once_and_what_is_in_flight_is_still_answered(world, peer, new_job):
    job = new_job()
    send(world, peer, job)

    peer.channel.shutdown("scaled down")
    peer.channel.shutdown("again")
    peer.answer(1)

    assert [frame for frame in peer.received if type(frame) is Shutdown] == [
        Shutdown("scaled down")
    ]
    assert not peer.channel.is_serving
    assert len(job.sink.ends) == 1


def test_a_job_that_is_cancelled_while_the_worker_finishes_is_still_told(world, peer, new_job):
    """The channel table has the row: a long stream must end although the worker is stopping."""
    job = new_job()
    send(world, peer, job)
    peer.channel.shutdown("scaled down")

    job.cancel()

    assert peer.received[-1] == Cancel(1, 0)


def test_shutdown_after_the_end_is_no_error(peer):
    peer.close()

    peer.channel.shutdown("late")

    assert peer.owner.heard == [("lost",)]


def test_of_a_dead_worker_the_oldest_batch_was_begun_and_the_others_were_not(world, peer, new_job):
    jobs = [new_job(name) for name in "abcdef"]
    send(world, peer, *jobs[:2])
    send(world, peer, *jobs[2:4])
    send(world, peer, *jobs[4:])
    jobs[1].cancel()
    jobs[4].cancel()

    assert peer.channel.lose() == ([jobs[0]], [jobs[2], jobs[3], jobs[5]])
    assert peer.channel.lose() == ([], [])


def test_the_response_time_of_a_batch_counts_from_its_turn(world, peer, new_job):
    send(world, peer, new_job("a"))
    send(world, peer, new_job("b"))
    world.advance(50)

    peer.answer(1)

    assert peer.channel.oldest.id == 2
    assert peer.channel.oldest.active_at == world.now


def test_a_chunk_is_a_sign_of_life(world, peer, new_job):
    send(world, peer, new_job())
    world.advance(50)

    peer.stream(1, 0, b"piece")

    assert peer.channel.oldest.active_at == world.now


def test_abort_before_the_connection_is_no_error():
    WorkerChannel(lambda channel, hello: None, LoopTurn(), BusyLoop()).abort()


# -- back-pressure


def test_reading_stops_while_any_stream_is_held_up(world, peer, new_job):
    send(world, peer, new_job())
    peer.channel.pause_reading()
    peer.channel.pause_reading()
    assert not peer.transport.is_reading
    assert peer.channel.is_paused

    peer.channel.resume_reading()
    assert not peer.transport.is_reading
    world.advance(30)
    peer.channel.resume_reading()

    assert peer.transport.is_reading
    assert not peer.channel.is_paused
    assert peer.channel.oldest.active_at == world.now, "the wait was the client's"


def test_a_lost_connection_is_neither_paused_nor_resumed(peer):
    peer.channel.pause_reading()
    peer.close()

    peer.channel.resume_reading()

    assert not peer.transport.is_reading


# -- batches that do not have the worker for themselves


@pytest.fixture
def concurrent(peer):
    """The same with a worker that answers in any order."""
    peer.channel._is_concurrent = True
    return peer


def send_shared(world, fake, kind, *jobs):
    fake.channel.send_shared(list(jobs), world.now, kind)
    assert fake.batches


def test_batches_of_a_concurrent_worker_are_answered_in_any_order(world, concurrent, new_job):
    jobs = [new_job("a"), new_job("b")]
    for job in jobs:
        send_shared(world, concurrent, SharedBatch, job)

    concurrent.answer(2)
    concurrent.answer(1)

    assert all(job.state is JobState.DONE for job in jobs)
    assert concurrent.channel.in_flight == 0


def test_an_answer_to_a_batch_that_is_not_in_flight_drops_a_concurrent_worker(
    world, concurrent, new_job
):
    send_shared(world, concurrent, SharedBatch, new_job())

    concurrent.send(Result(2, 1, [Reply(0, "", [], "", b"")]))

    assert is_dropped(world, concurrent)


def test_everything_a_concurrent_worker_has_is_begun(world, concurrent, new_job):
    jobs = [new_job("a"), new_job("b")]
    for job in jobs:
        send_shared(world, concurrent, SharedBatch, job)

    assert concurrent.channel.lose() == (jobs, [])


def test_the_clock_of_a_concurrent_batch_is_its_own(world, concurrent, new_job):
    for name in "ab":
        send_shared(world, concurrent, SharedBatch, new_job(name))
    sent_at = world.now
    world.advance(3)

    concurrent.answer(1)

    assert concurrent.channel.oldest.active_at < sent_at + 1


def test_rows_of_a_step_go_on_or_end_as_their_answers_say(world, peer, new_job):
    jobs = [new_job(name) for name in "abcd"]
    send_shared(world, peer, StepBatch, *jobs)

    more = Reply(0, "", ["x", "y", "TS_Stream_Next", "true"], "", b"1")
    last = Reply(0, "", ["ts_stream_next", "false"], "", b"2")
    alone = Reply(0, "", ["x", "true"], "", b"3")
    failed = Reply(0, "", [], HandlerFailed.code, b"no")
    peer.send(Result(1, 100, [more, last, alone, failed]))

    kinds = [[kind for kind, _ in job.sink.events] for job in jobs]
    assert kinds == [["chunk"], ["finish"], ["finish"], ["fail"]]
    assert jobs[0].state is JobState.STREAMING
    assert bytes(jobs[0].sink.events[0][1].body) == b"1"


def test_a_job_keeps_its_line_and_its_state_from_step_to_step(world, peer, new_job):
    job = new_job()
    send_shared(world, peer, StepBatch, job)
    sent_at, line = job.sent_at, job.channel
    peer.step(1, job="more")
    world.advance(1)

    peer.channel.send_shared([job], world.now, StepBatch)

    assert job.state is JobState.STREAMING
    assert (job.sent_at, job.channel) == (sent_at, line)
    assert job.batch.id == 2


def test_a_slow_client_holds_up_a_shared_channel_only_when_it_is_far_behind(
    world, concurrent, new_job
):
    job = new_job()
    send_shared(world, concurrent, SharedBatch, job)
    job.channel.pause_reading()

    concurrent.stream(1, 0, b"x" * 100)
    assert concurrent.transport.is_reading
    for _ in range(1 + PATIENCE_BYTES // LIMIT):
        concurrent.stream(1, 0, b"x" * LIMIT)
    assert not concurrent.transport.is_reading
    job.channel.resume_reading()

    assert concurrent.transport.is_reading


# -- several jobs


def test_fail_all_spares_those_that_are_settled(new_job):
    jobs = [new_job("a"), new_job("b")]
    jobs[0].cancel()

    fail_all(jobs, HandlerFailed())

    assert [job.state for job in jobs] == [JobState.CANCELLED, JobState.FAILED]


def test_no_frame_of_the_front_end_breaks_its_own_table(world, peer, new_job):
    """`FakeWorker` steps the table for every frame it takes; here the states are compared."""
    send(world, peer, new_job())
    peer.answer(1)
    peer.channel.shutdown("bye")

    assert peer.is_told_to_stop
    assert peer._channel.state is peer.channel._channel.state
    with pytest.raises(ProtocolError):
        peer._channel.step(Side.FRONT_END, Predict(2, []))
