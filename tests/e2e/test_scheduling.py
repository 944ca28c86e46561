"""Continuous batches, sequences, coroutine handlers and job tickets, with real workers."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from serving import RunningServer, eventually, workers
from wire import connect, post

pytestmark = pytest.mark.e2e

JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("scheduling"))
    steps = {"continuousBatching": True, "batchSize": 4, "maxBatchDelay": 20}
    running.add("tokens", "tokens", **workers(1, **steps))
    running.add("two", "tokens", **workers(2, **steps))
    stateful = {"sequenceBatching": True, "sequenceMaxIdleMSec": 20_000}
    running.add(
        "memory",
        "memory",
        **workers(2, **stateful, batchSize=4, maxBatchDelay=50),
        maxNumSequence=8,
        maxSequenceJobQueueSize=3,
    )
    running.add("one", "memory", **workers(1, **stateful), maxNumSequence=1)
    running.add("short", "memory", **workers(1, sequenceBatching=True, sequenceMaxIdleMSec=200))
    running.add("async", "asynchronous", **workers(1, asyncCommunication=True, responseTimeout=2))
    running.add("tickets", "memory", **workers(1, useJobTicket=True, batchSize=8))
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as executor:
        yield executor


def ask(server, model, order, sequence=None, **headers):
    if sequence is not None:
        headers["ts_request_sequence_id"] = sequence
    return server.predict(model, order, headers=headers)


# -- continuous batches


def test_requests_join_and_leave_a_running_batch(server, pool, tmp_path):
    """Each step waits for its gate: so it is known who is there when it ends."""
    note, gate = tmp_path / "note", tmp_path / "gate"
    first = pool.submit(ask, server, "tokens", {"count": 3, "note": str(note), "gate": str(gate)})
    eventually(note.exists, "the first step runs")
    second = pool.submit(ask, server, "tokens", {"count": 1})
    eventually(
        lambda: server.describe("tokens")["jobQueueStatus"]["pendingRequests"] == 1, "it waits"
    )

    gate.write_text("go")

    assert first.result().text == "1/1 2/2 3/1 "
    assert first.result().headers["ts_stream_next"] == "true"
    assert first.result().headers["transfer-encoding"] == "chunked"
    assert second.result().text == "1/2 "


def test_a_row_without_a_criterion_is_no_stream(server):
    answer = ask(server, "tokens", {})

    assert answer.text == "1/1 "
    assert answer.headers["content-length"] == "4"
    assert "ts_stream_next" not in answer.headers


def test_a_failing_step_ends_all_streams_and_the_next_request_is_served(server, pool, tmp_path):
    note, gate = tmp_path / "note", tmp_path / "gate"
    failing = {"count": 9, "note": str(note), "gate": str(gate), "fail": True}
    broken = pool.submit(ask, server, "tokens", failing)
    eventually(note.exists, "the first step runs")
    fresh = pool.submit(ask, server, "tokens", {})
    eventually(
        lambda: server.describe("tokens")["jobQueueStatus"]["pendingRequests"] == 1, "it waits"
    )
    gate.write_text("go")

    assert fresh.result().status_code == 503
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        broken.result()
    assert ask(server, "tokens", {"count": 2}).text == "1/1 2/1 "


def test_a_client_that_leaves_is_dropped_from_the_batch(server, tmp_path):
    note = tmp_path / "note"
    body = json.dumps({"count": 10**6, "note": str(note), "pause": 0.01}).encode()
    client = connect(server.endpoint)
    client.sendall(post("/predictions/tokens", body, JSON))
    assert b"200" in client.recv(100)

    client.close()
    eventually(lambda: ask(server, "tokens", {}).text == "1/1 ", "it is alone")


def test_streams_go_on_with_several_workers(server, pool):
    orders = [{"count": 20, "pause": 0.001} for _ in range(12)]

    answers = list(pool.map(lambda order: ask(server, "two", order).text, orders))

    for answer in answers:
        assert [piece.split("/")[0] for piece in answer.split()] == [str(n + 1) for n in range(20)]


# -- sequences


def test_the_sums_of_sequences_are_right_whatever_is_sent_at_the_same_time(server, pool):
    def run(name):
        return [ask(server, "memory", {"add": n}, name).json() for n in range(1, 9)]

    results = list(pool.map(run, [f"s{n}" for n in range(8)]))

    for name, answers in zip([f"s{n}" for n in range(8)], results, strict=True):
        assert [answer["sum"] for answer in answers] == [1, 3, 6, 10, 15, 21, 28, 36]
        assert {answer["id"] for answer in answers} == {name}
        assert len({answer["pid"] for answer in answers}) == 1
    together = [len(answer["together"]) for answers in results for answer in answers]
    assert max(together) > 1
    for name in [f"s{n}" for n in range(8)]:
        ask(server, "memory", {"add": 0}, name, ts_request_sequence_end="true")


def test_a_sequence_without_a_name_gets_one(server):
    first = ask(server, "memory", {"add": 5})
    name = first.headers["ts_request_sequence_id"]
    second = ask(server, "memory", {"add": 6, "end": True}, name)

    assert name.startswith("ts-seq-")
    assert first.json()["id"] == name
    assert second.json()["sum"] == 11


def test_there_are_only_so_many_sequences_until_one_ends(server):
    assert ask(server, "one", {"add": 1}, "a").json()["sum"] == 1

    refused = ask(server, "one", {"add": 1}, "b")
    assert refused.status_code == 503
    assert "maxNumSequence" in refused.json()["message"]

    assert ask(server, "one", {"add": 1}, "a", Ts_Request_Sequence_End="true").json()["sum"] == 2
    assert ask(server, "one", {"add": 1, "end": True}, "b").json()["sum"] == 1
    assert ask(server, "one", {"add": 3, "end": True}, "c").json()["sum"] == 3


def test_a_silent_sequence_ends(server):
    assert ask(server, "short", {"add": 1}, "a").status_code == 200

    eventually(lambda: ask(server, "short", {"add": 1}, "b").ok, "there is a place")


def test_when_the_worker_dies_what_waits_is_told_that_the_state_is_lost(server, pool, tmp_path):
    note, gate = tmp_path / "note", tmp_path / "gate"
    assert ask(server, "memory", {"add": 1}, "x").json()["sum"] == 1
    order = {"add": 1, "note": str(note), "gate": str(gate), "die": True}
    dying = pool.submit(ask, server, "memory", order, "x")
    eventually(note.exists, "it runs")
    waiting = pool.submit(ask, server, "memory", {"add": 1}, "x")
    eventually(
        lambda: server.describe("memory")["jobQueueStatus"]["pendingRequests"] == 1, "it waits"
    )

    gate.write_text("go")

    assert dying.result().status_code == 500
    assert waiting.result().status_code == 500
    assert "state of this sequence" in waiting.result().json()["message"]
    eventually(lambda: server.ready_workers("memory"), "it is back")
    assert ask(server, "memory", {"add": 7, "end": True}, "x").json()["sum"] == 7


# -- coroutine handlers


def test_calls_run_at_the_same_time_and_are_answered_as_they_end(server, pool, tmp_path):
    note, gate = tmp_path / "note", tmp_path / "gate"
    first = pool.submit(ask, server, "async", {"note": str(note), "gate": str(gate)})
    eventually(note.exists, "it runs")
    together = [pool.submit(ask, server, "async", {"meet": 5}) for _ in range(5)]

    answers = [each.result().json() for each in together]
    is_first_done = first.done()
    gate.write_text("go")

    assert not is_first_done
    assert {answer["calls"] for answer in answers} == {1}
    assert len({answer["id"] for answer in answers}) == 5
    assert first.result().ok


def test_a_failing_call_fails_alone(server, pool, tmp_path):
    note = tmp_path / "note"
    gate = tmp_path / "gate"
    other = pool.submit(ask, server, "async", {"note": str(note), "gate": str(gate)})
    eventually(note.exists, "it runs")

    assert ask(server, "async", {"fail": True}).status_code == 503
    gate.write_text("go")
    assert other.result().ok


def test_coroutines_stream(server):
    answer = ask(server, "async", {"stream": 3})

    assert answer.text == "0 1 2 end"
    assert answer.headers["transfer-encoding"] == "chunked"


def test_the_call_of_a_client_that_left_is_cancelled(server, tmp_path):
    note = tmp_path / "note"
    body = json.dumps({"sleep": 60, "note": str(note)}).encode()
    client = connect(server.endpoint)
    client.sendall(post("/predictions/async", body, JSON))
    eventually(note.exists, "it runs")
    pids = server.ready_workers("async")

    client.close()

    eventually(lambda: note.read_text() == "cancelled", "it is cancelled")
    assert ask(server, "async", {}).ok
    assert server.ready_workers("async") == pids


def test_a_call_that_is_too_slow_is_given_up_alone(server, tmp_path):
    note = tmp_path / "note"
    pids = server.ready_workers("async")

    answer = ask(server, "async", {"sleep": 60, "note": str(note)})

    assert answer.status_code == 500
    assert "responseTimeout" in answer.json()["message"]
    eventually(lambda: note.read_text() == "cancelled", "it is cancelled")
    assert server.ready_workers("async") == pids


# -- job tickets


def test_with_tickets_nothing_waits_behind_a_busy_worker(server, pool, tmp_path):
    note, gate = tmp_path / "note", tmp_path / "gate"
    order = {"add": 1, "note": str(note), "gate": str(gate)}
    first = pool.submit(ask, server, "tickets", order)
    eventually(note.exists, "it runs")

    refused = ask(server, "tickets", {"add": 1})
    gate.write_text("go")

    assert refused.status_code == 503
    assert refused.json()["type"] == "ServiceUnavailableException"
    assert "useJobTicket" in refused.json()["message"]
    assert first.result().ok
    assert ask(server, "tickets", {"add": 1}).ok
