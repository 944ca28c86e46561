"""The pid file: who holds it, and who only seems to."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from tsl.cli.pidfile import AlreadyRunning, PidFile, start_ticks_of


def fake_process(proc, pid, ticks, state="S", name="python"):
    """An entry of procfs."""
    (proc / str(pid)).mkdir(parents=True, exist_ok=True)
    fields = ["0"] * 50
    fields[0], fields[19] = state, str(ticks)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


@pytest.fixture
def proc(tmp_path):
    return tmp_path / "proc"


@pytest.fixture
def pid_file(tmp_path, proc):
    return PidFile(tmp_path, proc)


@pytest.fixture
def first(record, proc):
    fake_process(proc, 100, 5)
    return dataclasses.replace(record, pid=100, start_ticks=5)


@pytest.fixture
def second(record, proc):
    fake_process(proc, 200, 6)
    return dataclasses.replace(record, pid=200, start_ticks=6)


def test_a_claim_can_be_read(pid_file, first):
    pid_file.claim(first)

    assert pid_file.read() == first


def test_only_its_owner_can_read_the_file(pid_file, first):
    pid_file.claim(first)

    assert pid_file.path.stat().st_mode & 0o777 == 0o600


def test_a_second_claim_is_refused_and_names_the_first(pid_file, first, second):
    pid_file.claim(first)

    with pytest.raises(AlreadyRunning) as caught:
        pid_file.claim(second)

    assert caught.value.record == first
    assert pid_file.read() == first


def test_the_holder_may_change_its_record(pid_file, first):
    pid_file.claim(first)
    changed = dataclasses.replace(first, inference="http://127.0.0.1:9999")

    pid_file.claim(changed)

    assert pid_file.read() == changed


def test_a_dead_holder_is_replaced(pid_file, first, second, proc):
    pid_file.claim(first)
    (proc / "100" / "stat").unlink()

    pid_file.claim(second)

    assert pid_file.read() == second


@pytest.mark.parametrize(
    ("ticks", "state"), [(99, "S"), (5, "Z")], ids=["pid given to another", "zombie"]
)
def test_a_process_that_is_not_the_server_any_more_does_not_count(
    pid_file, first, proc, ticks, state
):
    pid_file.claim(first)
    fake_process(proc, 100, ticks, state)

    assert pid_file.read() is None


def test_release_removes_the_file(pid_file, first):
    pid_file.claim(first)

    pid_file.release(first)

    assert not pid_file.path.exists()


def test_release_leaves_the_file_of_another_server(pid_file, first, second):
    pid_file.claim(second)

    pid_file.release(first)

    assert pid_file.read() == second


@pytest.mark.parametrize(
    "content",
    ["", "1234", "[]", "{", json.dumps({"pid": 1})],
    ids=["empty", "pid", "list", "cut", "part"],
)
def test_a_file_that_is_no_record_names_no_server(pid_file, content):
    pid_file.path.write_text(content)

    assert pid_file.read() is None


def test_the_file_of_another_user_names_no_server(pid_file, first, monkeypatch):
    pid_file.claim(first)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)

    assert pid_file.read() is None


def test_the_draft_of_a_crashed_claim_is_in_nobodys_way(pid_file, first):
    pid_file.path.with_suffix(".100").touch()

    pid_file.claim(first)

    assert pid_file.read() == first


def test_a_command_with_blanks_and_parentheses_does_not_confuse(proc):
    fake_process(proc, 1, 77, name="a) b (c")

    assert start_ticks_of(1, proc) == 77


def test_this_process_has_started_at_some_time():
    assert start_ticks_of(os.getpid()) > 0
