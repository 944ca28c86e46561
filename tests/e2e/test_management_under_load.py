"""Models come, go and change while others are busy."""

import json
import threading
from pathlib import Path

import pytest
from serving import RunningServer, eventually, is_alive, workers
from wire import connect, post, read_response

pytestmark = pytest.mark.e2e

JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def managed(tmp_path_factory):
    """A server with one busy model and a store of others."""
    running = RunningServer(tmp_path_factory.mktemp("managed"))
    running.properties["job_queue_size"] = "1000"
    running.add("echo", "echo", **workers(2))
    for version in ("1.0", "2.0"):
        running.add("which", "which", version=version)
    running.add("sleepy", "sleepy", maxRetryTimeoutInSec=10)
    running.add("failing", "failing", maxRetryTimeoutInSec=1)
    running.add("quick", "echo")
    try:
        running.start("echo.mar")
        yield running
        running.stop()
    finally:
        running.close()


@pytest.fixture
def registered(managed):
    """Registers models for one test."""
    names = []

    def register(archive, name, count=1):
        answer = managed.manage(
            "POST", f"/models?url={archive}.mar&model_name={name}&initial_workers={count}"
        )
        assert answer.status_code == 200, answer.text
        names.append(name)

    yield register
    for name in dict.fromkeys(names):
        managed.manage("DELETE", f"/models/{name}")


def test_other_models_do_not_notice_management(managed, load):
    generator = load(managed.endpoint, "/predictions/echo", 16)
    eventually(lambda: generator.answered > 100, "load")

    for _ in range(3):
        register = "/models?url=quick.mar&model_name=guest&initial_workers=2"
        assert managed.manage("POST", register).status_code == 200
        assert managed.predict("guest", b"hello").content == b"hello"
        for count in (3, 1):
            scale = f"/models/guest?min_worker={count}&max_worker={count}&synchronous=true"
            assert managed.manage("PUT", scale).status_code == 200
            assert len(managed.ready_workers("guest")) == count
        assert managed.manage("DELETE", "/models/guest").status_code == 200
        assert managed.predict("guest", b"gone").status_code == 404

    generator.finish()
    assert generator.problems == []
    assert set(generator.statuses) == {200}


def test_scaling_the_loaded_model_itself_fails_no_request(managed, load):
    generator = load(managed.endpoint, "/predictions/echo", 16)
    eventually(lambda: generator.answered > 100, "load")

    for count in (1, 3, 1, 2):
        scale = f"/models/echo?min_worker={count}&max_worker={count}&synchronous=true"
        assert managed.manage("PUT", scale).status_code == 200
        before = generator.answered
        eventually(lambda before=before: generator.answered > before + 100, "it goes on")

    generator.finish()
    assert generator.problems == []
    assert set(generator.statuses) == {200}
    assert len(managed.ready_workers("echo")) == 2


def test_changing_the_default_version_fails_no_request(managed, registered, load):
    registered("which", "which")
    registered("which-2.0", "which")
    seen = set()

    def check(number, body):
        seen.add(body)
        return b'"version": "' in body

    generator = load(managed.endpoint, "/predictions/which", 8, check=check)

    for number in range(20):
        version = ("2.0", "1.0")[number % 2]
        answer = managed.manage("PUT", f"/models/which/{version}/set-default")
        assert answer.status_code == 200
        before = generator.answered
        eventually(lambda before=before: generator.answered > before + 20, "it goes on")

    generator.finish()
    assert generator.problems == []
    assert set(generator.statuses) == {200}
    assert any(b'"2.0"' in body for body in seen)
    assert any(b'"1.0"' in body for body in seen)
    assert managed.manage("DELETE", "/models/which/2.0").status_code == 200


def test_a_new_version_takes_over_without_a_failed_request(managed, registered, load):
    """The way to change a model in service: register, make it the default, take the old one away."""
    registered("which", "which", 2)
    old = set(managed.wait_ready("which"))
    versions = []

    def check(number, body):
        versions.append(json.loads(body)["version"])
        return True

    generator = load(managed.endpoint, "/predictions/which", 16, check=check)
    eventually(lambda: generator.answered > 200, "load")

    registered("which-2.0", "which", 2)
    assert managed.describe("which", "2.0")["minWorkers"] == 2
    assert managed.manage("PUT", "/models/which/2.0/set-default").status_code == 200
    assert managed.manage("DELETE", "/models/which/1.0").status_code == 200
    before = generator.answered
    eventually(lambda: generator.answered > before + 200, "it goes on")

    generator.finish()
    assert generator.problems == []
    assert set(generator.statuses) == {200}
    assert versions[0] == "1.0"
    assert set(versions[-100:]) == {"2.0"}
    assert managed.describe("which")["modelVersion"] == "2.0"
    assert managed.predict("which/1.0").status_code == 404
    eventually(lambda: not any(map(is_alive, old)), "the workers of the old version are gone")


def test_the_default_version_cannot_be_unregistered_while_there_are_others(managed, registered):
    registered("which", "which")
    registered("which-2.0", "which")

    assert managed.manage("DELETE", "/models/which/1.0").status_code == 403
    assert managed.predict("which").json()["version"] == "1.0"
    assert managed.manage("DELETE", "/models/which/2.0").status_code == 200


def sleeping_clients(managed, model, count, seconds):
    """So many clients that wait for an answer of a sleepy model."""
    clients = [connect(managed.endpoint) for _ in range(count)]
    for client in clients:
        client.sendall(post(f"/predictions/{model}", b'{"sleep": %g}' % seconds, JSON))
    return clients


def statuses_of(clients):
    found = []
    for client in clients:
        with client, client.makefile("rb") as stream:
            found.append(read_response(stream)[0])
    return found


def test_scaling_down_finishes_what_runs(managed, registered):
    registered("sleepy", "sleepy", 2)
    clients = sleeping_clients(managed, "sleepy", 2, 0.6)
    old = managed.wait_ready("sleepy")

    answer = managed.manage("PUT", "/models/sleepy?min_worker=1&max_worker=1&synchronous=true")

    assert answer.status_code == 200
    assert statuses_of(clients) == [200, 200]
    assert managed.wait_ready("sleepy") == old[:1]
    assert not is_alive(old[1])


def test_scaling_to_nothing_answers_those_who_wait(managed, registered):
    registered("sleepy", "sleepy")
    clients = sleeping_clients(managed, "sleepy", 3, 0.5)
    eventually(
        lambda: managed.describe("sleepy")["jobQueueStatus"]["pendingRequests"] == 2, "two wait"
    )

    managed.manage("PUT", "/models/sleepy?min_worker=0&max_worker=0&synchronous=true")

    assert statuses_of(clients) == [200, 503, 503]


def test_unregistering_finishes_what_runs_and_answers_those_who_wait(managed, registered):
    registered("sleepy", "sleepy")
    clients = sleeping_clients(managed, "sleepy", 4, 0.5)
    eventually(
        lambda: managed.describe("sleepy")["jobQueueStatus"]["pendingRequests"] == 3, "three wait"
    )

    answer = managed.manage("DELETE", "/models/sleepy")

    assert answer.status_code == 200
    assert statuses_of(clients) == [200, 503, 503, 503]
    assert managed.manage("GET", "/models/sleepy").status_code == 404


def test_a_model_that_cannot_be_loaded_is_not_registered(managed):
    answer = managed.manage("POST", "/models?url=failing.mar&initial_workers=2")

    assert answer.status_code == 500
    assert "Failed to start workers for model failing version: 1.0" in answer.json()["message"]
    assert managed.manage("GET", "/models/failing").status_code == 404


def test_registering_twice_at_the_same_time_lets_one_win(managed):
    statuses = []

    def register():
        path = "/models?url=quick.mar&model_name=twice&initial_workers=1"
        statuses.append(managed.manage("POST", path).status_code)

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 409, 409, 409]
    assert len(managed.ready_workers("twice")) == 1
    assert managed.manage("DELETE", "/models/twice").status_code == 200


def test_a_client_that_leaves_during_a_registration_does_not_stop_it(managed):
    host, _, port = managed.management.removeprefix("http://").partition(":")
    with connect((host, int(port))) as client:
        client.sendall(
            b"POST /models?url=quick.mar&model_name=left&initial_workers=1 HTTP/1.1\r\nHost: t\r\n\r\n"
        )

    eventually(lambda: "left" in managed.model_names(), "it is registered all the same")
    managed.wait_ready("left")
    assert managed.manage("DELETE", "/models/left").status_code == 200


def test_no_process_and_no_descriptor_is_left_by_models_that_came_and_went(managed):
    def cycle():
        path = "/models?url=quick.mar&model_name=brief&initial_workers=1"
        assert managed.manage("POST", path).status_code == 200
        assert managed.manage("DELETE", "/models/brief").status_code == 200

    def descriptors(pid):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    cycle()
    nursery = managed.nursery()
    before = len(managed.members()), descriptors(managed.pid), descriptors(nursery)
    for _ in range(10):
        cycle()

    after = eventually(
        lambda: (
            (now := (len(managed.members()), descriptors(managed.pid), descriptors(nursery)))
            <= before
            and now
        ),
        "everything is released",
    )
    assert after <= before
