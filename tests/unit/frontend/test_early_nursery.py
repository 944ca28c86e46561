"""What the fork server is told before the server is imported."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import zipfile

import pytest

from tsl.frontend.config import ServerConfig
from tsl.frontend.early_nursery import MAX_LOOKED_AT, likely_modules, prepare
from tsl.frontend.nursery_process import NurseryProcess
from tsl.protocol.codec import FrameDecoder
from tsl.protocol.frames import Preload

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
def nursery():
    """A fork server that does nothing, and the socket at its end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = NurseryProcess(process, ours)
    yield started, theirs
    started.end()
    process.stdin.close()
    theirs.close()


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("load_models=torch.mar", Preload(["torch"], [])),
        ("load_models=plain.mar", Preload([], [])),
        ("load_models=plain.mar\nlog_format=json", Preload([], ["TSL_MARK_OUTPUT", "1"])),
    ],
)
def test_the_fork_server_is_told_what_is_likely(store, nursery, text, order):
    process, theirs = nursery

    assert prepare(process, config_of(store, text), {})

    assert FrameDecoder().feed(theirs.recv(4096)) == [order]


@pytest.mark.parametrize("text", ["", "load_models=torch.mar\nworker_start=spawn"])
def test_it_is_ended_when_nothing_is_to_be_forked(store, nursery, text):
    process, theirs = nursery

    assert not prepare(process, config_of(store, text), {})

    assert theirs.recv(4096) == b""
    assert process.process.returncode == -9


def test_one_that_is_gone_is_left_to_the_server(store, nursery):
    process, theirs = nursery
    theirs.close()

    assert not prepare(process, config_of(store, "load_models=all"), {})

    assert process.process.returncode == -9
