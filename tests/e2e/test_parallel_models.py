"""Workers of several processes: all take part, one answers, and they live and die together."""

import os
import signal
import socket
from pathlib import Path

import pytest
from serving import RunningServer, eventually, is_alive, workers

from tsl.frontend.group_plan import ReservedPort

pytestmark = pytest.mark.e2e


def parallel(notes, kind="tp", level=2, count=1, **settings):
    """Settings of a model whose ranks write to a file."""
    config = {"parallelType": kind, "torchrun": {"nproc-per-node": level, **settings}}
    return workers(count, ranks={"notes": str(notes)}, **config)


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """A server with parallel models; the real one computes with gloo."""
    running = RunningServer(tmp_path_factory.mktemp("groups"))
    notes = running.folder
    running.add("tensor", "ranks", **parallel(notes / "tensor", OMP_NUMBER_THREADS=3))
    running.add("pipe", "ranks", **parallel(notes / "pipe", kind="pp"))
    running.add("hung", "ranks", responseTimeout=1, **parallel(notes / "hung"))
    running.add("own", "ranks", **parallel(notes / "own", kind="custom"))
    running.add("real", "all_reduce", parallelType="tp", parallelLevel=2, **workers(1))
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


def notes_of(server, model):
    return (server.folder / model).read_text().splitlines()


def loads_of(server, model):
    """Pid by rank, of the latest start."""
    pids = {}
    for line in notes_of(server, model):
        rank, what, *rest = line.split()
        if what == "load":
            pids[rank] = int(rest[0])
    return pids


def test_the_ranks_compute_together(groups):
    numbers = [1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0]

    answers = [groups.predict("real", {"numbers": numbers}).json() for _ in range(3)]

    assert [answer["total"] for answer in answers] == [19.0] * 3
    assert {answer["rank"] for answer in answers} == {0}


def test_each_rank_has_the_environment_of_torchrun_and_rank_0_answers(groups):
    document = groups.predict("tensor", b"hello").json()
    (worker,) = groups.describe("tensor")["workers"]

    port = document.pop("MASTER_PORT")
    assert int(port) > 1024
    assert document == {
        "pid": worker["pid"], "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "3",
        "TORCHELASTIC_RUN_ID": f"tensor_{worker['id']}",
    }  # fmt: skip
    assert int(worker["id"]) >= 29500
    eventually(lambda: {"0 hello", "1 hello"} <= set(notes_of(groups, "tensor")), "both took part")


def test_of_a_pipeline_only_the_first_rank_is_asked(groups):
    assert groups.predict("pipe", b"one").status_code == 200
    assert groups.predict("pipe", b"two").status_code == 200

    lines = notes_of(groups, "pipe")
    assert [line for line in lines if "load" not in line] == ["0 one", "0 two"]
    assert set(loads_of(groups, "pipe")) == {"0", "1"}


def test_a_custom_worker_is_one_process(groups):
    document = groups.predict("own", b"hello").json()

    assert set(document) == {"pid", "OMP_NUM_THREADS"}
    assert set(loads_of(groups, "own")) == {"-"}


def test_an_exception_in_another_rank_costs_nothing(groups):
    before = loads_of(groups, "tensor")

    assert groups.predict("tensor", b"raise 1").status_code == 200
    assert groups.predict("tensor", b"again").status_code == 200

    assert loads_of(groups, "tensor") == before
    eventually(lambda: "ValueError: as asked" in groups.log("model_log.log"), "its traceback")


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_the_end_of_one_rank_ends_all_and_all_come_back(groups, end):
    before = loads_of(groups, "tensor")

    if end == "exit":
        groups.predict("tensor", b"exit 1")
    else:
        os.kill(before["1"], signal.SIGKILL)

    eventually(lambda: not any(map(is_alive, before.values())), "both have ended")
    eventually(lambda: loads_of(groups, "tensor") != before, "they are started again", 15)
    groups.wait_ready("tensor")
    assert groups.predict("tensor", b"hello").status_code == 200
    assert not set(before.values()) & set(loads_of(groups, "tensor").values())


def test_a_rank_that_hangs_after_the_answer_is_found_and_ended(groups):
    before = loads_of(groups, "hung")

    assert groups.predict("hung", b"hang 1").status_code == 200

    eventually(lambda: not any(map(is_alive, before.values())), "both have ended", 15)
    groups.wait_ready("hung")
    assert groups.predict("hung", b"hello").status_code == 200
    eventually(lambda: "rank 1 did not finish" in groups.output(), "the reason")


def test_a_rank_that_cannot_load_fails_the_registration(groups):
    config = parallel(groups.folder / "broken")
    config["ranks"]["cannot_load"] = "1"
    groups.add("broken", "ranks", **config)

    answer = groups.manage("POST", "/models?url=broken.mar&initial_workers=1")

    assert answer.status_code == 500
    assert "broken" not in groups.model_names()
    pids = loads_of(groups, "broken").values()
    eventually(lambda: not any(map(is_alive, pids)), "no rank is left")
    reason = "rank 1: RuntimeError: this rank cannot load"
    eventually(lambda: reason in groups.output(), "the reason")


def test_scaling_ends_whole_groups(groups):
    groups.add("scaled", "ranks", **parallel(groups.folder / "scaled"))
    groups.manage("POST", "/models?url=scaled.mar").raise_for_status()
    (first,) = groups.wait_ready("scaled")
    both = loads_of(groups, "scaled").values()

    groups.manage("PUT", "/models/scaled?min_worker=2&synchronous=true").raise_for_status()
    assert len(groups.wait_ready("scaled")) == 2
    groups.manage("DELETE", "/models/scaled").raise_for_status()

    assert first in both
    pids = [
        int(line.split()[2]) for line in Path(groups.folder / "scaled").read_text().splitlines()
    ]
    assert len(pids) == 4
    assert not any(map(is_alive, pids))


def test_a_reserved_port_is_given_to_nobody_but_the_one_who_asks_for_it():
    port = ReservedPort()
    first, second = socket.socket(), socket.socket()
    try:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("", port.number))
        first.listen()
        with pytest.raises(OSError, match="Address already in use"):
            second.bind(("127.0.0.1", port.number))
    finally:
        port.close()
        first.close()
        second.close()
