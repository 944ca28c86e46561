"""``shareModel: true``: a model is loaded once, and its workers are forked from that process."""

import os
import signal

import psutil
import pytest
import requests
from serving import eventually, workers

pytestmark = pytest.mark.e2e


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "loaded"


def answer(server, name):
    return requests.post(f"{server.inference}/predictions/{name}", data=b"x", timeout=20).json()


def template_pids(server, name):
    """Processes that hold a shared model."""
    family = psutil.Process(server.pid).children(recursive=True)
    return [p.pid for p in family if p.cmdline()[0].startswith(f"tsl-template: {name}/")]


def test_all_workers_begin_with_the_model_that_was_loaded_once(server, notes):
    server.add(
        "m", "shared", **workers(3, shareModel=True, test={"notes": str(notes)}, batchSize=1)
    )
    server.start()

    pids = server.ready_workers("m")
    answers = [answer(server, "m") for _ in range(30)]

    loaders = notes.read_text().split()
    assert len(loaders) == 1
    assert {str(each["loaded_by"]) for each in answers} == set(loaders)
    assert {each["pid"] for each in answers} <= set(pids)
    assert int(loaders[0]) not in pids


def test_a_worker_that_dies_is_forked_again_without_another_load(server, notes):
    server.add("m", "shared", **workers(1, shareModel=True, test={"notes": str(notes)}))
    server.start()
    [pid] = server.ready_workers("m")

    os.kill(pid, signal.SIGKILL)

    assert eventually(lambda: server.ready_workers("m") not in ([pid], None), "a new worker")
    assert answer(server, "m")["pid"] != pid
    assert len(notes.read_text().split()) == 1


def test_the_death_of_the_process_that_holds_the_model_is_survived(server, notes):
    server.add("m", "shared", **workers(2, shareModel=True, test={"notes": str(notes)}))
    server.start()
    before = server.ready_workers("m")

    os.kill(template_pids(server, "m")[0], signal.SIGKILL)

    eventually(lambda: set(server.ready_workers("m") or before).isdisjoint(before), "new workers")
    assert answer(server, "m")["pid"] not in before


def test_the_model_goes_with_its_last_registration(server, notes):
    server.add("m", "shared", **workers(1, shareModel=True, test={"notes": str(notes)}))
    server.start()
    assert template_pids(server, "m")

    requests.delete(f"{server.management}/models/m", timeout=20).raise_for_status()

    eventually(lambda: not template_pids(server, "m"), "the template is gone")


@pytest.mark.parametrize("trouble", ["thread", "fail"])
def test_a_model_that_cannot_be_shared_is_loaded_by_each_worker(server, notes, trouble):
    settings = {"notes": str(notes), trouble: True}
    config = workers(2, shareModel=True, test=settings, maxRetryTimeoutInSec=0)
    server.add("m", "shared", **config)
    if trouble == "fail":
        server.launch()
        server.wait_started()
        eventually(lambda: "will not load" in server.output(), "the reason is on the console")
        assert requests.post(f"{server.inference}/predictions/m", timeout=20).status_code == 503
        return
    server.start()

    answers = [answer(server, "m") for _ in range(10)]

    assert all(each["loaded_by"] == each["pid"] for each in answers)
