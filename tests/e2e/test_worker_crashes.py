"""Workers that are killed: every request is answered once, and the service comes back."""

import os
import random
import shutil
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from serving import (
    RunningServer,
    eventually,
    is_alive,
    members_of,
    resident_bytes,
    workers,
)
from wire import connect, post

pytestmark = pytest.mark.e2e

CONNECTIONS = 64


@pytest.fixture(scope="module")
def crashing(tmp_path_factory):
    """A server whose models get killed and come back."""
    running = RunningServer(tmp_path_factory.mktemp("crash"))
    running.add("pair", "echo", **workers(2))
    running.add("batched", "echo", **workers(2, batchSize=8, maxBatchDelay=5))
    running.add("single", "echo", **workers(1))
    running.properties["job_queue_size"] = "1000"
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


def wait_for_answers(generator, more):
    """Wait for so many further answers."""
    target = generator.answered + more
    eventually(lambda: generator.answered >= target, f"{more} more answers", 30)


def kill_one_worker(server, model):
    """Kill a worker and wait until all are ready again."""
    victim = server.wait_ready(model)[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not is_alive(victim), "the worker is dead")
    eventually(
        lambda: victim not in (server.ready_workers(model) or [victim]),
        "all workers are ready again",
        15,
    )


@pytest.mark.parametrize("model", ["pair", "batched", "single"])
def test_killing_a_worker_under_load_loses_no_request(crashing, load, model):
    """The echo model is quick, so frames are pipelined after the first few dozen answers."""
    generator = load(crashing.endpoint, f"/predictions/{model}", CONNECTIONS)
    wait_for_answers(generator, 1000)

    for _ in range(3):
        kill_one_worker(crashing, model)
        wait_for_answers(generator, 500)
    generator.finish()

    assert generator.problems == []
    assert generator.answered == generator.sent
    assert set(generator.statuses) <= {200, 507}
    # A batch that was in the worker's hands is lost, no more: the rest is served by others.
    assert generator.statuses[507] <= 3 * 8
    status = crashing.describe(model)["jobQueueStatus"]
    assert status == {"remainingCapacity": 1000, "pendingRequests": 0}
    assert crashing.process.poll() is None


def test_the_cause_of_a_worker_s_death_is_shown_by_describe(crashing):
    victim = crashing.wait_ready("single")[0]

    os.kill(victim, signal.SIGKILL)

    worker = eventually(
        lambda: (
            crashing.ready_workers("single") not in (None, [victim])
            and crashing.describe("single")["workers"][0]
        ),
        "a new worker is ready",
        20,
    )
    assert "SIGKILL" in worker["lastFailure"]


def test_killing_the_nursery_restarts_all_workers(server):
    server.add("echo", "echo", **workers(2))
    server.start()
    old = set(server.wait_ready("echo"))
    nursery = server.nursery()

    os.kill(nursery, signal.SIGKILL)

    new = eventually(
        lambda: (pids := server.ready_workers("echo")) and old.isdisjoint(pids) and pids,
        "two new workers",
    )
    assert len(new) == 2
    assert server.predict("echo", b"again").content == b"again"
    assert server.nursery() not in (None, nursery)
    server.stop()


def test_killing_the_front_end_ends_workers_and_nursery(server):
    server.add("echo", "echo", **workers(2))
    server.add("fresh", "echo", **workers(1, workerStart="spawn"))
    server.add("busy", "sleepy", **workers(1))
    server.start()
    body = b'{"sleep": 60}'
    with connect(server.endpoint) as sock:
        sock.sendall(post("/predictions/busy", body, "Content-Type: application/json"))
        assert len(server.members()) == 6

        os.kill(server.pid, signal.SIGKILL)

        server.wait_ended()
        eventually(lambda: members_of(server.pid) == [], "nothing of it lives", 5)


def test_a_restart_after_a_kill_works_and_replaces_the_stale_pid_file(server):
    server.add("echo", "echo", **workers(1))
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    server.wait_ended()
    eventually(lambda: members_of(server.pid) == [], "nothing of it lives", 5)
    for leftover in server.temp.glob("tsl-*"):  # nobody was left to remove it
        for file in leftover.iterdir():
            file.unlink()
        leftover.rmdir()
    server.console.unlink()

    server.start()

    assert server.record()["pid"] == server.pid
    assert server.predict("echo", b"x").content == b"x"
    server.stop()


def test_clients_that_leave_at_any_moment_cost_nothing(server):
    """10 000 aborted requests: no worker restarts, no slot or memory is lost."""
    server.add("batched", "echo", **workers(2, batchSize=8, maxBatchDelay=2))
    server.add("stream", "stream", **workers(2))
    server.start()
    before = {name: server.wait_ready(name) for name in ("batched", "stream")}
    dice = random.Random(11)
    json_type = "Content-Type: application/json"
    requests_ = [
        post("/predictions/batched", b"x" * 20),
        post("/predictions/batched", b"x" * 100_000),
        post("/predictions/stream", b'{"count": 5, "pause": 0.001, "size": 5000}', json_type),
        post("/predictions/batched", b"1") * 5,
    ]

    def abort_one(kind):
        request = requests_[kind]
        with connect(server.endpoint) as sock:
            cut = dice.choice((len(request), dice.randrange(len(request) + 1)))
            sock.sendall(request[:cut])
            if kind == 2 and cut == len(request) and dice.random() < 0.5:
                sock.recv(dice.randrange(1, 4000))
            if dice.random() < 0.5:  # a reset instead of an orderly end
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    for index in range(1000):
        abort_one(2 if index % 50 == 0 else dice.choice((0, 0, 0, 1, 3)))
    warm = resident_bytes(server.pid)
    began = time.monotonic()
    for index in range(9000):
        abort_one(2 if index % 50 == 0 else dice.choice((0, 0, 0, 1, 3)))
    assert time.monotonic() - began < 40

    for name, pids in before.items():
        eventually(
            lambda name=name: (
                server.describe(name)["jobQueueStatus"]
                == {"remainingCapacity": 100, "pendingRequests": 0}
            ),
            f"the queue of {name} is empty",
        )
        assert server.ready_workers(name) == pids
    with requests.Session() as session:
        for number in range(200):
            answer = session.post(
                f"{server.inference}/predictions/batched", data=str(number), timeout=2
            )
            assert answer.text == str(number)
    streamed = server.predict("stream", {"count": 2}).text
    assert streamed == "part-0\npart-1\nend\n"
    assert resident_bytes(server.pid) - warm < 25_000_000
    server.stop()


def test_failures_do_not_make_a_slow_model_look_quick(server):
    """Jobs behind a slow one would wait although another worker is idle."""
    server.add("sleepy", "sleepy", **workers(2))
    server.start()
    for _ in range(80):
        assert server.predict("sleepy", {"sleep": 0.02, "fail": True}).status_code == 503

    with ThreadPoolExecutor(8) as pool:
        slow = pool.submit(server.predict, "sleepy", {"sleep": 2})
        eventually(
            lambda: server.describe("sleepy")["jobQueueStatus"]["pendingRequests"] == 0, "sent"
        )
        quick = [pool.submit(server.predict, "sleepy", {"sleep": 0.02}) for _ in range(6)]
        took = max(answer.result().elapsed.total_seconds() for answer in quick)
        slow.result()

    assert took < 1
    server.stop()


def test_a_fork_server_that_hangs_does_not_hold_up_the_end(server):
    """It may hang in an import, on a disk that does not answer."""
    server.add("echo", "echo", **workers(1))
    server.properties["drain_timeout"] = "1"
    server.start()
    endpoint = server.endpoint
    os.kill(server.nursery(), signal.SIGSTOP)
    assert server.manage("PUT", "/models/echo?min_worker=2&synchronous=false").status_code == 202

    server.send_signal()

    assert server.wait_ended(20) == 0
    server.assert_nothing_is_left(endpoint)


def test_a_fork_server_that_hangs_is_given_up_after_the_startup_timeout(server):
    server.add("echo", "echo", **workers(1, startupTimeout=1))
    server.start()
    nursery = server.nursery()
    os.kill(nursery, signal.SIGSTOP)

    answer = server.manage("PUT", "/models/echo?min_worker=2&synchronous=true")

    try:
        assert answer.status_code == 500
        assert server.predict("echo", b"x").content == b"x"
    finally:
        os.kill(nursery, signal.SIGCONT)


def test_forty_workers_can_be_started_at_once(server):
    """More orders than the fork server's socket takes while it imports torch."""
    server.environ["PADDING"] = "x" * 20_000
    server.add("torch", "with_torch", **workers(40))
    server.start()

    assert len(set(server.wait_ready("torch"))) == 40
    assert "starting a fresh process" not in server.log("ts_log.log")
    assert server.predict("torch").status_code == 200
    server.stop()


def test_a_model_folder_that_was_deleted_harms_its_own_model_only(server):
    """Something cleans up the temporary folder while the server runs."""
    server.add("gone", "echo", **workers(1))
    server.add("stays", "which", **workers(1))
    server.start()
    kept = server.wait_ready("stays")
    victim = server.wait_ready("gone")[0]
    shutil.rmtree(Path(f"/proc/{victim}/cwd").resolve())

    os.kill(victim, signal.SIGKILL)

    eventually(lambda: "gone_1.0 in 1 seconds" in server.output(), "restarts fail")
    assert server.predict("stays").status_code == 200
    assert server.ready_workers("stays") == kept
    server.stop()
