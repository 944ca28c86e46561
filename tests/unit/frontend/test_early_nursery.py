"""What is started before the server is imported, and which guess it is given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile

import pytest

from tsl.frontend import early_nursery as module
from tsl.frontend.config import ServerConfig
from tsl.frontend.early_nursery import MAX_LOOKED_AT, likely_modules, start_early
from tsl.frontend.nursery_process import NurseryProcess

TORCH = "import torch\n"
PLAIN = "import json\n"


def archive(store, name, source, settings=""):
    with zipfile.ZipFile(store / f"{name}.mar", "w") as file:
        manifest = {"model": {"handler": "h.py", "configFile": "c.yaml"}}
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("h.py", source)
        file.writestr("c.yaml", settings)


@pytest.fixture
def store(tmp_path):
    archive(tmp_path, "plain", PLAIN)
    archive(tmp_path, "torch", TORCH)
    archive(tmp_path, "picture", "from PIL import Image\n")
    (tmp_path / "notes.txt").write_text(TORCH)
    return tmp_path


def config_of(store, text):
    return ServerConfig.load(f"{text}\nmodel_store={store}", {}, {})


def snapshot_of(**settings):
    model = {"defaultVersion": True, "marName": "torch.mar", **settings}
    document = {"name": "s", "modelCount": 1, "models": {"torch": {"1.0": model}}}
    return f"model_snapshot={json.dumps(document)}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("load_models=all", ("PIL.Image", "torch")),
        ("load_models=torch.mar", ("torch",)),
        ("load_models=a=/anywhere/torch.mar", ("torch",)),
        ("load_models=plain.mar", ()),
        ("load_models=notes.txt", ()),
        ("load_models=gone.mar,https://host/x.mar", ()),
        (snapshot_of(), ("torch",)),
        (snapshot_of(minWorkers=2), ("torch",)),
        (snapshot_of(minWorkers=0), ()),
        ("load_models=torch.mar\nnumber_of_gpu=0", ("torch",)),
    ],
)
def test_the_models_of_the_start_tell_what_is_likely(store, text, expected):
    assert likely_modules(config_of(store, text), {}) == expected


def test_accelerators_need_fresh_processes_and_no_torch_here(store):
    config = config_of(store, "load_models=torch.mar")

    assert not likely_modules(config, {"CUDA_VISIBLE_DEVICES": "0"})


def test_a_large_store_is_not_read_to_its_end(tmp_path):
    for number in range(MAX_LOOKED_AT):
        archive(tmp_path, f"a{number}", PLAIN)
    archive(tmp_path, "b", TORCH)

    assert not likely_modules(config_of(tmp_path, "load_models=all"), {})


@pytest.fixture
def started(monkeypatch):
    calls = []

    def start(python, environ, preload):
        calls.append((environ, preload))
        return "process"

    monkeypatch.setattr(module.NurseryProcess, "start", start)
    return calls


@pytest.mark.parametrize(
    ("text", "preload"),
    [("load_models=torch.mar", ("torch",)), ("load_models=plain.mar", ())],
)
def test_the_fork_server_is_started_with_the_guess(store, started, text, preload):
    secret = {"TSL_MANAGEMENT_KEY": "x" * 20, "A": "1"}

    assert start_early(config_of(store, text), secret) == "process"

    ((environ, given),) = started
    assert given == preload
    assert environ["A"] == "1"
    assert environ["OPENBLAS_NUM_THREADS"] == "1"
    assert "TSL_MANAGEMENT_KEY" not in environ


@pytest.mark.parametrize("text", ["", "load_models=torch.mar\nworker_start=spawn"])
def test_nothing_is_started_when_nothing_is_to_be_forked(store, started, text):
    assert start_early(config_of(store, text), {}) is None
    assert started == []


def test_a_fork_server_that_cannot_be_started_is_left_to_the_server(store, monkeypatch):
    def refuse(python, environ, preload):
        raise OSError("no more processes")

    monkeypatch.setattr(module.NurseryProcess, "start", refuse)

    assert start_early(config_of(store, "load_models=all"), {}) is None


def test_ending_it_twice_is_fine_and_nothing_of_it_is_left():
    ours, theirs = socket.socketpair()
    theirs.close()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    nursery = NurseryProcess(process, ours)

    nursery.end()
    nursery.end()

    process.stdin.close()
    assert process.returncode == -9
    assert ours.fileno() == -1


def test_its_output_and_descriptors_are_those_of_the_server(tmp_path):
    """The real one: it imports what it is told, and ends with its socket."""
    nursery = NurseryProcess.start(sys.executable, dict(os.environ), ("colorsys", "no_such_module"))

    nursery.control.close()

    assert nursery.process.wait(30) == 0
