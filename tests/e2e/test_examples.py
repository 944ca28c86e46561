"""Handlers in the manner of TorchServe's examples, packed by our archiver and served by one server.

Each is asked what TorchServe was asked, and must answer the same (`tests/data/examples`). With
``ORIGINAL_ARCHIVER`` set to the path of TorchServe's ``torch-model-archiver``, its archives are
served instead of ours.
"""

import json
import os
import subprocess

import pytest
from example_table import ENVELOPE_EXAMPLES, EXAMPLES
from examples import EXPECTED, amend_manifest, differences, play, write_sources
from serving import RunningServer

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


def serve(examples, folder):
    """Pack examples, and start a server with all of them."""
    (folder / "scratch").mkdir()
    server = RunningServer(folder / "server")
    server.properties["default_workers_per_model"] = "1"
    for example in examples:
        options = write_sources(example, folder / "sources" / example.name)
        pack(options, server.store, folder / "scratch")
        if example.manifest:
            amend_manifest(server.store / f"{example.name}.mar", example.manifest)
    return server


def check(server, example):
    addresses = {"inference": server.inference, "management": server.management}
    found = json.loads(json.dumps(play(example, addresses)))
    expected = EXPECTATIONS[example.key]
    for step in example.steps:
        if step.better:
            expected[step.name]["status"] = step.better
    assert differences(expected, found) == []


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """A server with all examples that need no envelope."""
    server = serve(EXAMPLES, tmp_path_factory.mktemp("examples"))
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_answers_as_torchserve_does(serving, example):
    check(serving, example)


@pytest.mark.parametrize(
    ("envelope", "from_environment"),
    [("body", False), ("json", True), ("kserve", True), ("kservev2", False)],
    ids=["body", "json by variable", "kserve by variable", "kservev2"],
)
def test_an_envelope_is_chosen_by_file_or_variable(tmp_path, envelope, from_environment):
    """An archive cannot choose: what its manifest says about an envelope does not count."""
    examples = [example for example in ENVELOPE_EXAMPLES if example.envelope == envelope]
    server = serve(examples, tmp_path)
    if from_environment:
        server.properties["enable_envvars_config"] = "true"
        server.properties["service_envelope"] = "body"  # the variable wins
        server.environ["TS_SERVICE_ENVELOPE"] = envelope
    else:
        server.properties["service_envelope"] = envelope
    try:
        server.start()
        for example in examples:
            check(server, example)
        server.stop()
    finally:
        server.close()


def test_there_are_examples_enough_and_each_was_recorded():
    names = [example.key for example in (*EXAMPLES, *ENVELOPE_EXAMPLES)]

    assert len(names) == len(set(names)) >= 25
    assert set(EXPECTATIONS) == set(names)
