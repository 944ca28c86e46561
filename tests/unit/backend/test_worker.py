"""A worker's life, told by the frames it gets and gives."""

from collections import deque

import pytest

from tsl.backend import streaming, worker
from tsl.backend.metrics import MetricsCache
from tsl.backend.service import Service
from tsl.backend.worker import EXIT_CANNOT_LOAD, EXIT_STOPPED, Worker
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import (
    PROTOCOL_VERSION,
    Done,
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
    Row,
    Shutdown,
)

LOAD = Load("m", "/m", "h.py", "", 2, -1, True, 1000, True, "")


class FakeConnection:
    """Gives the frames it was made of, then the end of the stream."""

    def call_when_idle(self, on_idle, after_s):
        """It never is."""

    def poll_busily(self, limit_s):
        """For nothing: what there is is here."""
        self.awake_s = limit_s

    def __init__(self, *frames):
        self.frames = deque(frames)
        self.cancelled = set()
        self.forgotten = 0
        self.sent = []
        self.writes = []
        self.broken = False

    has_cancelled = property(lambda self: bool(self.cancelled))

    def receive(self):
        return self.frames.popleft() if self.frames else None

    def poll(self):
        """Nothing more arrives."""

    def is_cancelled(self, batch_id, row):
        return (batch_id, row) in self.cancelled

    def forget_answered(self, running=()):
        self.forgotten += 1

    def send(self, *frames):
        if self.broken:
            raise BrokenPipeError
        for frame in frames:
            if isinstance(frame, Metrics) and frame.records[0].name == "unpackable":
                raise OverflowError
        self.sent += frames
        self.writes.append(len(frames))


def handle(data, context):
    return [context.get_request_id(row) for row in range(len(data))]


@pytest.fixture(autouse=True)
def _one_process_for_all_tests(monkeypatch):
    monkeypatch.setattr(streaming, "_current", None)
    monkeypatch.setattr(worker.gc, "freeze", lambda: None)


@pytest.fixture
def loads(monkeypatch):
    """Loading gives a service around a function of this test."""

    def loads(entry_point, metrics=()):
        def load(frame, sink):
            for record in metrics:
                sink(record)
            return Service("m", "/m", None, entry_point, None, 2, True, MetricsCache("", "m", sink))

        monkeypatch.setattr(worker.ModelLoader, "load", load)

    return loads


def live(connection, prepare=lambda load: None):
    return Worker(connection, "w1", "secret", 77, prepare).run()


def predict(batch_id, *ids):
    return Predict(batch_id, [Row(each, [], [], []) for each in ids])


def record(name):
    return MetricRecord(name, "count", "COUNTER", 1.0, [], "", 0)


def answers(connection):
    """What was sent after the greeting, without metrics."""
    return [f for f in connection.sent[1:] if not isinstance(f, Metrics | Loaded)]


def test_it_greets_loads_and_answers_until_the_stream_ends(loads):
    loads(handle)
    connection = FakeConnection(LOAD, predict(1, "a", "b"), Ping(9))

    code = live(connection)

    assert code == EXIT_STOPPED
    assert connection.sent[0] == Hello(PROTOCOL_VERSION, "w1", "secret", 77)
    assert isinstance(connection.sent[1], Loaded)
    result, pong = answers(connection)
    assert isinstance(result, Result)
    assert result.replies == [Reply(0, "", [], "", b"a"), Reply(0, "", [], "", b"b")]
    assert pong == Pong(9)


def test_a_rank_that_does_not_answer_runs_the_batch_and_says_so(loads):
    calls = []

    def fail_at_first(data, context):
        calls.append(context.get_request_id(0))
        if len(calls) == 1:
            raise ValueError("as asked")
        return "no list"

    loads(fail_at_first)
    connection = FakeConnection(LOAD._replace(answers=False), predict(1, "a"), predict(2, "b"))

    assert live(connection) == EXIT_STOPPED
    assert answers(connection) == [Done(1), Done(2)]
    assert calls == ["a", "b"]


def test_shutdown_ends_it_after_what_came_before(loads):
    loads(handle)
    connection = FakeConnection(LOAD, predict(1, "a"), Shutdown("bye"), predict(2, "b"))

    assert live(connection) == EXIT_STOPPED
    assert [frame.batch_id for frame in answers(connection)] == [1]


@pytest.mark.parametrize("frames", [[], [Shutdown("bye")]], ids=["eof", "shutdown"])
def test_it_may_be_stopped_before_there_is_anything_to_load(frames):
    assert live(FakeConnection(*frames)) == EXIT_STOPPED


def test_a_front_end_that_is_gone_is_no_failure():
    connection = FakeConnection()
    connection.broken = True

    assert live(connection) == EXIT_STOPPED


def test_a_frame_it_cannot_serve_is_an_error(loads):
    loads(handle)

    with pytest.raises(ProtocolError, match="Load while serving"):
        live(FakeConnection(LOAD, LOAD))


def test_a_handler_that_fails_does_not_end_it(loads, capsys):
    loads(lambda data, context: 1 / 0)
    connection = FakeConnection(LOAD, predict(1, "a"), predict(2, "b"))

    assert live(connection) == EXIT_STOPPED
    assert answers(connection) == [
        Failure(1, "handler_failed", "", 0),
        Failure(2, "handler_failed", "", 0),
    ]


def test_a_handler_that_exits_ends_it(loads):
    def leave(data, context):
        raise SystemExit(4)

    loads(leave)

    with pytest.raises(SystemExit):
        live(FakeConnection(LOAD, predict(1, "a")))


# Loading.


def test_the_process_is_prepared_before_the_model_is_loaded(monkeypatch):
    order = []
    monkeypatch.setattr(
        worker.ModelLoader, "load", lambda load, sink: order.append("load") or 1 / 0
    )

    live(FakeConnection(LOAD), prepare=lambda load: order.append(load.model_dir))

    assert order == ["/m", "load"]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ValueError("no\nweights"), LoadFailure("load_failed", "ValueError: no weights")),
        (MemoryError(), LoadFailure("load_out_of_memory", "MemoryError")),
        (SystemExit(0), LoadFailure("load_failed", "SystemExit: 0")),
        (ValueError("\ud800"), LoadFailure("load_failed", "ValueError: ?")),
    ],
    ids=["two-lines", "memory", "exit", "surrogate"],
)
def test_a_model_that_cannot_be_loaded_is_reported(monkeypatch, capsys, error, answer):
    def load(frame, sink):
        raise error

    monkeypatch.setattr(worker.ModelLoader, "load", load)
    connection = FakeConnection(LOAD, predict(1, "a"))

    assert live(connection) == EXIT_CANNOT_LOAD
    assert connection.sent[1:] == [answer]
    err = capsys.readouterr().err
    assert err.startswith("Backend worker process died.\nTraceback")


def test_a_folder_that_cannot_be_entered_is_a_failure_to_load(capsys):
    def prepare(load):
        raise FileNotFoundError(load.model_dir)

    connection = FakeConnection(LOAD)

    assert live(connection, prepare) == EXIT_CANNOT_LOAD
    assert connection.sent[1:] == [LoadFailure("load_failed", "FileNotFoundError: /m")]


# Metrics.


def test_metrics_of_loading_go_before_loaded_in_one_write(loads):
    loads(handle, metrics=[record("Loads")])
    connection = FakeConnection(LOAD)

    live(connection)

    assert connection.sent[1] == Metrics([record("Loads")])
    assert isinstance(connection.sent[2], Loaded)
    assert connection.writes == [1, 2]


def test_metrics_of_a_call_go_before_its_result(loads):
    def counting(data, context):
        context.metrics.add_counter("Seen", len(data))
        return handle(data, context)

    loads(counting)
    connection = FakeConnection(LOAD, predict(1, "a"), predict(2, "b"))

    live(connection)

    kinds = [type(frame) for frame in connection.sent[2:]]
    assert kinds == [Metrics, Result, Metrics, Result]
    assert [r.name for r in connection.sent[2].records] == ["Seen"]


def test_without_metrics_there_is_no_metrics_frame(loads):
    loads(handle)
    connection = FakeConnection(LOAD, Ping(1))

    live(connection)

    assert [type(frame) for frame in connection.sent] == [Hello, Loaded, Pong]


def test_metrics_that_cannot_be_packed_do_not_hold_up_the_answer(loads, capsys):
    loads(handle, metrics=[record("unpackable")])
    connection = FakeConnection(LOAD)

    live(connection)

    assert [type(frame) for frame in connection.sent] == [Hello, Loaded]
    assert "are dropped" in capsys.readouterr().err


# Cancelled rows.


def test_a_batch_that_nobody_waits_for_is_not_run(loads):
    calls = []
    loads(lambda data, context: calls.append(data))
    connection = FakeConnection(LOAD, predict(1, "a", "b"))
    connection.cancelled = {(1, 0), (1, 1)}

    live(connection)

    assert answers(connection) == [Failure(1, "job_cancelled", "", 0)]
    assert calls == []


def test_a_batch_with_one_row_alive_is_run(loads):
    loads(lambda data, context: [context.is_cancelled(row) for row in range(len(data))])
    connection = FakeConnection(LOAD, predict(1, "a", "b"))
    connection.cancelled = {(1, 0)}

    live(connection)

    assert [bytes(reply.body) for reply in answers(connection)[0].replies] == [b"true", b"false"]


def test_after_each_batch_its_cancelled_rows_are_forgotten(loads):
    loads(handle)
    connection = FakeConnection(LOAD, predict(1, "a"), predict(2, "b"), Ping(1))

    live(connection)

    assert connection.forgotten == 2


def test_it_stays_awake_for_as_long_as_the_front_end_says(loads):
    loads(handle)
    connection = FakeConnection(LOAD._replace(busy_poll_us=250))

    live(connection)

    assert connection.awake_s == 0.00025
