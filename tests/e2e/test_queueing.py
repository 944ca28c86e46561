"""Deadlines, full queues and batches, seen from outside."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from serving import RunningServer, eventually, workers
from wire import connect, post, read_response

pytestmark = pytest.mark.e2e

JSON = "Content-Type: application/json"


@pytest.fixture
def pool():
    """Runs requests at the same time."""
    with ThreadPoolExecutor(16) as executor:
        yield executor


def occupy(server, model, pool, seconds):
    """Keep the only worker of a model busy; returns when its handler says that it runs."""
    note = server.folder / f"busy-{uuid.uuid4().hex}"
    blocker = {"sleep": seconds, "name": "busy", "note": str(note)}
    busy = pool.submit(server.predict, model, blocker)
    eventually(note.exists, "it is busy")
    return busy


def is_pending(server, model, count):
    return server.describe(model)["jobQueueStatus"]["pendingRequests"] == count


# -- deadlines


def test_a_waiting_job_is_answered_at_the_model_s_limit_and_never_run(shared, pool, tmp_path):
    note = tmp_path / "note"
    blocker = {"sleep": 1.2, "note": str(note), "name": "first"}
    first = pool.submit(shared.predict, "limited", blocker)
    eventually(note.exists, "the first one runs")

    began = time.monotonic()
    second = shared.predict("limited", {"note": str(note), "name": "second"})

    assert second.status_code == 408
    assert 0.35 < time.monotonic() - began < 0.7
    assert "deadline" in second.json()["message"]
    assert first.result().status_code == 408
    assert first.result().elapsed.total_seconds() < 0.7
    third = eventually(
        lambda: (
            (answer := shared.predict("limited", {"note": str(note), "name": "third"})).ok
            and answer
        ),
        "the worker is free again",
    )
    assert third.json()["name"] == "third"
    assert "second" not in note.read_text()


def test_a_client_may_set_a_deadline_of_its_own(shared, pool, tmp_path):
    note = tmp_path / "note"
    pids = shared.wait_ready("sleepy")
    first = pool.submit(shared.predict, "sleepy", {"sleep": 0.8, "note": str(note)})
    eventually(note.exists, "the first one runs")
    limit = {"X-Request-Timeout-Ms": "200"}

    late = shared.predict("sleepy", {"note": str(note), "name": "late"}, headers=limit)

    assert late.status_code == 408
    assert late.elapsed.total_seconds() < 0.5
    assert first.result().status_code == 200
    running = shared.predict("sleepy", {"sleep": 0.6}, headers=limit)
    assert running.status_code == 408
    assert running.elapsed.total_seconds() < 0.5
    assert shared.predict("sleepy", {}).status_code == 200
    assert "late" not in note.read_text()
    assert shared.ready_workers("sleepy") == pids


@pytest.mark.parametrize("value", ["soon", "0", "-1", "1.5"])
def test_a_deadline_that_is_no_number_is_refused(shared, value):
    answer = shared.predict("sleepy", {}, headers={"X-Request-Timeout-Ms": value})

    assert answer.status_code == 400
    assert "x-request-timeout-ms" in answer.json()["message"]


# -- full queues


@pytest.fixture(scope="module")
def tight(tmp_path_factory):
    """A server with small queues and the statuses of TorchServe."""
    yield from _tight(tmp_path_factory, "torchserve")


@pytest.fixture(scope="module")
def standard(tmp_path_factory):
    """The same with the statuses of HTTP."""
    yield from _tight(tmp_path_factory, "standard")


def _tight(tmp_path_factory, codes):
    running = RunningServer(tmp_path_factory.mktemp(codes))
    running.add("sleepy", "sleepy", **workers(1, jobQueueSize=2))
    running.add("bytes", "sleepy", **workers(1, jobQueueBytes=3000))
    running.add("late", "sleepy", **workers(1, responseTimeout=1))
    running.properties["status_codes"] = codes
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


def test_a_full_queue_refuses_at_once_and_says_so(tight, pool):
    busy = occupy(tight, "sleepy", pool, 0.8)
    waiting = [pool.submit(tight.predict, "sleepy", {}) for _ in range(2)]
    eventually(lambda: is_pending(tight, "sleepy", 2), "two wait")
    assert tight.describe("sleepy")["jobQueueStatus"]["remainingCapacity"] == 0

    answer = tight.predict("sleepy", {})

    assert answer.status_code == 503
    assert answer.elapsed.total_seconds() < 0.2
    assert answer.json()["type"] == "ServiceUnavailableException"
    assert "job queue of the model is full" in answer.json()["message"]
    assert [job.result().status_code for job in [busy, *waiting]] == [200, 200, 200]


def test_the_queue_is_bounded_in_bytes(tight, pool):
    busy = occupy(tight, "bytes", pool, 0.8)
    padded = {"name": "x" * 2000}
    waiting = pool.submit(tight.predict, "bytes", padded)
    eventually(lambda: is_pending(tight, "bytes", 1), "one waits")

    refused = tight.predict("bytes", padded)
    small = pool.submit(tight.predict, "bytes", {})

    assert refused.status_code == 503
    assert "job_queue_bytes" in refused.json()["message"]
    assert [job.result().status_code for job in (busy, waiting, small)] == [200, 200, 200]


def test_standard_status_of_a_full_queue_is_429_with_retry_after(standard, pool):
    busy = occupy(standard, "sleepy", pool, 0.8)
    waiting = [pool.submit(standard.predict, "sleepy", {}) for _ in range(2)]
    eventually(lambda: is_pending(standard, "sleepy", 2), "two wait")

    answer = standard.predict("sleepy", {})

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert all(job.result().ok for job in [busy, *waiting])


def test_standard_status_of_a_passed_deadline_is_504(standard):
    answer = standard.predict("sleepy", {"sleep": 0.5}, headers={"X-Request-Timeout-Ms": "100"})

    assert answer.status_code == 504


def test_standard_status_of_a_hanging_handler_is_504(standard):
    assert standard.predict("late", {"sleep": 30}).status_code == 504


def test_standard_status_of_a_failing_handler_is_500(standard):
    assert standard.predict("sleepy", {"fail": True}).status_code == 500


# -- batches


def ask(server, model, text):
    began = time.monotonic()
    document = server.predict(model, text.encode()).json()
    document["seconds"] = time.monotonic() - began
    return document


def test_a_full_batch_does_not_wait(shared, pool):
    answers = list(pool.map(lambda n: ask(shared, "batch", str(n)), range(4)))

    assert {answer["size"] for answer in answers} == {4}
    assert len({answer["call"] for answer in answers}) == 1
    assert sorted(answer["index"] for answer in answers) == [0, 1, 2, 3]
    assert max(answer["seconds"] for answer in answers) < 0.25


def test_a_batch_that_is_not_full_waits_for_max_batch_delay(shared):
    answer = ask(shared, "batch", "alone")

    assert answer["size"] == 1
    assert 0.28 < answer["seconds"] < 0.6


def test_jobs_that_waited_long_enough_go_at_once_when_the_worker_is_free(shared, pool, tmp_path):
    """The window of 300 ms closes while the worker is busy for 600 ms."""
    note = tmp_path / "note"
    first = [pool.submit(ask, shared, "batch", f"{n}:0.6:{note}") for n in range(4)]
    eventually(note.exists, "the first batch runs")
    second = [pool.submit(ask, shared, "batch", f"{n}") for n in range(2)]

    assert {job.result()["size"] for job in first} == {4}
    assert {job.result()["size"] for job in second} == {2}
    assert max(job.result()["seconds"] for job in second) < 0.85


def test_an_eager_model_never_waits_while_its_worker_is_idle(shared):
    answer = ask(shared, "eager", "alone")

    assert answer["size"] == 1
    assert answer["seconds"] < 0.2  # maxBatchDelay is five seconds


def test_an_eager_model_fills_batches_while_its_worker_is_busy(shared, pool, tmp_path):
    note = tmp_path / "note"
    busy = pool.submit(ask, shared, "eager", f"busy:0.5:{note}")
    eventually(note.exists, "it is busy")
    waiting = [pool.submit(ask, shared, "eager", str(n)) for n in range(6)]

    sizes = sorted(job.result()["size"] for job in waiting)

    assert busy.result()["size"] == 1
    assert sizes == [2, 2, 4, 4, 4, 4]
    assert max(job.result()["seconds"] for job in waiting) < 1


def test_jobs_are_served_in_the_order_of_their_arrival(shared, tmp_path):
    """One after the other into an eager queue behind a busy worker, each on its own connection."""
    note = tmp_path / "note"
    clients = [connect(shared.endpoint) for _ in range(13)]
    clients[0].sendall(post("/predictions/eager", f"busy:1:{note}".encode()))
    eventually(note.exists, "it is busy")
    for number, client in enumerate(clients[1:], 1):
        client.sendall(post("/predictions/eager", b"%d" % number))
        eventually(lambda number=number: is_pending(shared, "eager", number), "it waits")

    places = []
    for client in clients[1:]:
        with client, client.makefile("rb") as stream:
            document = json.loads(read_response(stream)[2])
            places.append((document["call"], document["index"]))
    clients[0].close()

    assert places == sorted(places)
    assert {index for _, index in places} == {0, 1, 2, 3}


def test_requests_without_a_body_may_be_posted_and_got(shared):
    url = f"{shared.inference}/predictions/echo"

    assert requests.get(url, timeout=5).status_code == 200
    assert requests.post(url, timeout=5).status_code == 200
