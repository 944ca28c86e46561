"""What the clients of the benchmark take for a right answer, and how they count."""

import asyncio
import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from benchmarks.load import open_loop, stream_client
from benchmarks.load.h2load import times_in
from benchmarks.load.open_loop import arrivals, judge, run_open_loop
from benchmarks.load.samples import percentiles
from benchmarks.load.stream_client import StreamReader, summarise
from benchmarks.load.wrk import read_result

WRK = {
    "requests": 100,
    "bytes": 9000,
    "duration_us": 2_000_000,
    "p50_us": 10.0,
    "p99_us": 90.0,
    "bad_status": 0,
    "socket_errors": 0,
}


def said(**changes):
    return f"Running 2s test\n{json.dumps({**WRK, **changes})}\n"


def test_the_times_of_calls_are_those_that_succeeded():
    log = "1700000000000001\t200\t150\n1700000000000002\t-1\t9\n1700000000000003\t200\t250\n"

    assert times_in(log) == [150.0, 250.0]


def test_the_line_of_wrk_becomes_a_load():
    load = read_result(said(), answer_size=50)

    assert (load.requests, load.rate, load.p50_us, load.p99_us, load.errors) == (
        100,
        50.0,
        10.0,
        90.0,
        0,
    )


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"bad_status": 2}, 2),
        ({"socket_errors": 3}, 3),
        ({"bytes": 100}, 1),
        ({"requests": 0, "bytes": 0}, 1),
    ],
    ids=["refused", "broken", "too short", "nothing"],
)
def test_what_wrk_complains_about_is_an_error(changes, errors):
    assert read_result(said(**changes), answer_size=50).errors == errors


def test_output_without_our_line_ends_the_run():
    with pytest.raises(SystemExit, match="nothing of use"):
        read_result("Running 2s test\n", answer_size=1)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld", False),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", True),
    ],
    ids=["head", "part", "right", "wrong", "refused", "chunked part", "chunked"],
)
def test_the_open_loop_checks_every_answer(answer, verdict):
    assert judge(answer, b"hello") is verdict


def test_arrivals_are_the_same_for_every_server():
    times = list(arrivals(rate=1000.0, seconds=2.0))

    assert times == list(arrivals(rate=1000.0, seconds=2.0))
    assert times == sorted(times)
    assert 1800 < len(times) < 2200
    assert max(times) < 2.0


class Server:
    """Answers requests one after the other, each after a time; a connection is a thread."""

    def __init__(self, pause_s, answers=10**9):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pause_s, self._left = pause_s, answers
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        connection, _ = self._listener.accept()
        with connection, self._listener:
            while connection.recv(1000) and self._left:
                self._left -= 1
                time.sleep(self._pause_s)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def ask(server, rate, seconds):
    return run_open_loop(
        "127.0.0.1", server.port, "/", body=b"x", expected=b"hi", rate=rate,
        connections=1, seconds=seconds, headers={},
    )  # fmt: skip


def test_a_server_that_keeps_up_is_asked_as_often_as_was_said():
    load = ask(Server(0), rate=100, seconds=0.3)

    assert load.errors == 0
    assert load.requests == len(list(arrivals(100, 0.3)))


def test_a_server_that_is_too_slow_shows_it_in_the_latency_and_makes_no_errors(monkeypatch):
    monkeypatch.setattr(open_loop, "_DRAIN_S", 0.2)

    load = ask(Server(0.05), rate=500, seconds=0.2)

    assert load.errors == 0
    assert load.requests < 12
    assert load.rate < 25
    assert load.p99_us > 0.2e6
    assert load.extra["max_us"] >= load.p99_us


def test_a_connection_that_breaks_is_an_error(monkeypatch):
    monkeypatch.setattr(open_loop, "_DRAIN_S", 0.2)

    assert ask(Server(0, answers=3), rate=100, seconds=0.2).errors == 1


def test_percentiles_of_one_value_are_that_value():
    assert percentiles([3.0]) == (3.0, 3.0)
    assert percentiles([float(value) for value in range(101)]) == (50.0, 99.0)


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Transport:
    def __init__(self):
        self.written = []
        self.is_open = True

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.is_open = False

    abort = close


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(stream_client, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


@pytest.fixture
def reader(clock):
    async def make():
        return StreamReader(b"request", b"token ", 3, stop_at=10.0)

    made = asyncio.run(make())
    made.connection_made(Transport())
    return made


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"6\r\ntoken \r\n"
END = b"0\r\n\r\n"


def test_a_stream_is_timed_chunk_by_chunk(clock, reader):
    for at, data in ((1.0, HEAD + CHUNK), (3.0, CHUNK), (4.0, CHUNK + END)):
        clock.now = at
        reader.data_received(data)

    assert reader.first == [1.0]
    assert reader.gaps == [2.0, 1.0]
    assert reader.durations == [4.0]
    assert reader.errors == 0


def test_a_chunk_that_is_cut_in_two_counts_once(clock, reader):
    clock.now = 1.0
    reader.data_received(HEAD + b"6\r\ntok")
    clock.now = 2.0
    reader.data_received(b"en \r\n" + CHUNK + CHUNK + END)

    assert reader.first == [2.0]
    assert reader.gaps == [0.0, 0.0]
    assert reader.errors == 0


def test_a_stream_with_a_chunk_too_few_is_an_error(clock, reader):
    clock.now = 1.0
    reader.data_received(HEAD + CHUNK + CHUNK + END)

    assert reader.errors == 1


def test_a_refusal_closes_the_connection_and_is_an_error(clock, reader):
    clock.now = 1.0
    reader.data_received(b"HTTP/1.1 503 Busy\r\n\r\n")

    assert reader.errors == 1
    assert not reader._transport.is_open


def test_a_stream_that_ends_after_the_time_is_not_counted(clock, reader):
    clock.now = 11.0
    reader.data_received(HEAD + CHUNK * 3 + END)

    assert reader.durations == []
    assert not reader._transport.is_open


def test_clients_are_summed_up_in_chunks(clock, reader):
    for at in (1.0, 2.0):
        clock.now = at
        reader.data_received(HEAD + CHUNK * 3 + END)

    load = summarise([reader], count=3, seconds=2.0)

    assert load.requests == 2
    assert load.extra["chunks"] == 3.0
    assert load.extra["first50_us"] == 1e6
    assert load.errors == 0


def test_no_stream_at_all_is_an_error():
    assert summarise([], count=3, seconds=2.0).errors == 1
