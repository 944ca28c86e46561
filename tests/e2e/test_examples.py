"""Handlers in the manner of TorchServe's examples, packed by our archiver and served by one server.

Each is asked what TorchServe was asked, and must answer the same (`tests/data/examples`). With
``ORIGINAL_ARCHIVER`` set to the path of TorchServe's ``torch-model-archiver``, its archives are
served instead of ours.
"""

import json
import os
import subprocess

import pytest
from example_table import EXAMPLES
from examples import EXPECTED, differences, play, write_sources

from model_archiver import ModelArchiver, ModelArchiverConfig

pytestmark = pytest.mark.e2e

ORIGINAL = os.environ.get("ORIGINAL_ARCHIVER")
EXPECTATIONS = json.loads(EXPECTED.read_text())


def pack(options, store, scratch):
    if ORIGINAL:
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        words = [word.replace("_", "-") if word.startswith("--") else word for word in words]
        environ = {**os.environ, "TMPDIR": str(scratch)}
        subprocess.run([ORIGINAL, "--export-path", store, *words], check=True, env=environ)
    else:
        ModelArchiver.generate_model_archive(ModelArchiverConfig(export_path=str(store), **options))


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """A server with all examples."""
    from serving import RunningServer

    folder = tmp_path_factory.mktemp("examples")
    (folder / "scratch").mkdir()
    server = RunningServer(folder / "server")
    server.properties["default_workers_per_model"] = "1"
    for example in EXAMPLES:
        options = write_sources(example, folder / "sources" / example.name)
        pack(options, server.store, folder / "scratch")
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_answers_as_torchserve_does(serving, example):
    addresses = {"inference": serving.inference, "management": serving.management}

    found = json.loads(json.dumps(play(example, addresses)))

    expected = EXPECTATIONS[example.name]
    for step in example.steps:
        if step.better:
            expected[step.name]["status"] = step.better
    assert differences(expected, found) == []


def test_there_are_examples_enough_and_each_was_recorded():
    names = [example.name for example in EXAMPLES]

    assert len(names) == len(set(names)) >= 25
    assert set(EXPECTATIONS) == set(names)
