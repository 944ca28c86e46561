"""What handlers do to their process, and that the server copes with it."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving import RunningServer, eventually, is_alive, workers

pytestmark = pytest.mark.e2e


RANDOM = "WHOSE = 'the archive'\nclass Random: ...\ndef seed(): ...\n"


@pytest.fixture(scope="module")
def rough(tmp_path_factory):
    """A server with handlers that misbehave on demand."""
    running = RunningServer(tmp_path_factory.mktemp("rough"))
    running.add("dying", "dying", **workers(1))
    running.add("spawned", "dying", **workers(1, workerStart="spawn"))
    running.add("slow", "sleepy", **workers(1, responseTimeout=1))
    running.add("shadow", "shadow", files={"random.py": RANDOM}, **workers(1))
    running.add("torch", "with_torch", **workers(2))
    running.add("forking", "forking", **workers(1))
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


def model_log(server, *words):
    """Wait for a line of the model log that holds all of these; returns it."""

    def find():
        lines = server.log("model_log.log").splitlines()
        return next((line for line in lines if all(word in line for word in words)), None)

    return eventually(find, f"a line with {words} in the model log")


@pytest.mark.parametrize("model", ["dying", "spawned"])
@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("os_exit", "exit code 7"),
        ("sys_exit", "exit code 5"),
        ("segfault", "SIGSEGV"),
        ("keyboard_interrupt", "exit code 1"),
    ],
)
def test_a_handler_that_ends_its_process_is_started_again(rough, model, way, cause):
    old = rough.wait_ready(model)

    answer = rough.predict(model, way.encode())

    assert answer.status_code == 500
    assert answer.json()["message"].startswith("Worker died.")
    eventually(
        lambda: rough.ready_workers(model) not in (None, old),
        "a new worker is ready",
        30,
    )
    assert cause in rough.describe(model)["workers"][0]["lastFailure"]
    assert rough.predict(model, b"alive").status_code == 200


@pytest.mark.parametrize(
    ("way", "status"), [("raise", 503), ("memory_error", 507), ("recursion", 503)]
)
def test_a_handler_that_raises_keeps_its_process(rough, way, status):
    old = rough.wait_ready("dying", 30)

    answer = rough.predict("dying", way.encode())

    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert rough.predict("dying", b"alive").text == str(old[0])


def test_a_segfault_leaves_the_stack_in_the_model_log(rough):
    rough.wait_ready("dying", 30)

    rough.predict("dying", b"segfault")

    model_log(rough, "dying_1.0-stderr", "Fatal Python error: Segmentation fault")


def test_a_handler_beyond_the_response_timeout_is_answered_and_restarted(rough):
    old = rough.wait_ready("slow")
    began = time.monotonic()

    answer = rough.predict("slow", {"sleep": 60})

    assert answer.status_code == 500
    assert "responseTimeout" in answer.json()["message"]
    assert 0.9 < time.monotonic() - began < 2
    model_log(rough, "slow_1.0-stderr", "the_handler_hangs_here")
    eventually(lambda: rough.ready_workers("slow") not in (None, old), "a new worker is ready")
    assert rough.predict("slow", {}).status_code == 200


def test_what_a_handler_prints_is_in_the_model_log(rough):
    rough.wait_ready("dying", 30)

    rough.predict("dying", b"print")

    out = model_log(rough, "a line on stdout")
    err = model_log(rough, "a line on stderr")
    assert "dying_1.0-stdout MODEL_LOG - a line on stdout" in out
    assert "dying_1.0-stderr MODEL_LOG - a line on stderr" in err
    assert "[INFO ]" in out
    assert "[WARN ]" in err
    assert "a line on stdout" in rough.output()


def test_ten_megabytes_without_a_newline_do_no_harm(rough):
    old = rough.wait_ready("dying", 30)

    answer = rough.predict("dying", b"megabytes")

    assert answer.text == str(old[0])
    eventually(lambda: rough.log("model_log.log").count("x") >= 10_000_000, "all of it is logged")


def test_a_chatty_handler_does_not_hold_up_other_models(rough):
    rough.wait_ready("dying", 30)
    with ThreadPoolExecutor(1) as pool:
        chatty = pool.submit(rough.predict, "dying", b"chatty")
        delays = []
        while not chatty.done():
            delays.append(rough.predict("shadow").elapsed.total_seconds())

    assert chatty.result().status_code == 200
    assert len(delays) > 10
    assert max(delays) < 0.2


def test_a_child_that_outlives_its_worker_holds_nothing_up(rough):
    old = rough.wait_ready("dying", 30)

    answer = rough.predict("dying", b"child")

    try:
        assert answer.status_code == 500
        eventually(lambda: rough.ready_workers("dying") not in (None, old), "a new worker", 30)
        assert rough.predict("dying", b"alive").status_code == 200
    finally:
        for file in rough.temp.glob("models/*/child.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
            file.unlink()


def test_a_forked_child_that_keeps_the_socket_open_loses_no_further_request(rough, tmp_path):
    rough.wait_ready("forking")
    note = tmp_path / "child"

    answer = rough.predict("forking", str(note).encode())

    try:
        assert answer.status_code == 500
        assert rough.predict("forking", b"").text == "alive"
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


def test_a_dead_worker_whose_child_holds_its_socket_gets_no_further_request(rough, tmp_path):
    """The worker is known to be dead, only its socket is not at its end."""
    worker = rough.wait_ready("forking")[0]
    note = tmp_path / "child"
    assert rough.predict("forking", f"live {note}".encode()).text == "alive"

    os.kill(worker, signal.SIGKILL)

    try:
        eventually(lambda: not is_alive(worker), "the worker is dead")
        eventually(lambda: rough.describe("forking")["workers"][0]["pid"] != worker, "it is known")
        answer = rough.predict("forking", b"")
        assert (answer.status_code, answer.text) == (200, "alive")
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


def test_a_handler_that_closes_its_standard_descriptors_goes_on(rough):
    old = rough.wait_ready("spawned", 30)

    assert rough.predict("spawned", b"close").status_code == 200
    assert rough.predict("spawned", b"alive").text == str(old[0])
    # Its traceback cannot be written any more; the answer still tells what happened.
    assert rough.predict("spawned", b"raise").status_code == 503


def test_a_handler_s_threads_do_not_keep_its_process_alive(rough):
    pid = rough.wait_ready("dying", 30)[0]
    assert rough.predict("dying", b"threads").status_code == 200

    rough.manage("PUT", "/models/dying?min_worker=0&synchronous=true")

    eventually(lambda: not is_alive(pid), "the worker has ended", 5)
    answer = rough.manage("PUT", "/models/dying?min_worker=1&synchronous=true")
    assert answer.status_code == 200


def test_an_archive_s_module_named_like_an_imported_one_is_the_archive_s(rough):
    answer = rough.predict("shadow").json()

    assert answer["whose"] == "the archive"
    title = Path(f"/proc/{answer['pid']}/cmdline").read_text()
    assert "tsl-worker" in title
    assert "named like imported ones: random" in rough.log("ts_log.log")


def test_forked_workers_have_random_numbers_of_their_own(rough):
    seeds = set()

    def collect():
        seeds.add(rough.predict("torch").json()["seed"])
        return len(seeds) == 2

    eventually(collect, "both workers answered, with different seeds")


def test_a_handler_that_cannot_be_initialised_fails_visibly(server):
    server.add("failing", "failing", **workers(1, maxRetryTimeoutInSec=0))
    server.add("echo", "echo", **workers(1))
    server.launch()
    server.wait_started()

    line = eventually(
        lambda: next((x for x in server.output().splitlines() if x.startswith("  failed")), None),
        "the report names the failed model",
    )

    assert line == "  failed      failing 1.0: RuntimeError: the weights are not there"
    assert "  ready       echo 1.0 (1/1 workers" in server.output()
    model_log(server, "failing_1.0-stderr", "RuntimeError: the weights are not there")
    assert server.predict("failing").status_code == 503
    assert server.predict("echo", b"fine").content == b"fine"
    assert server.describe("failing")["workers"][0]["status"] == "UNLOADING"
    server.stop()
