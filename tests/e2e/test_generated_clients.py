"""Clients that grpcio-tools makes of tables of fields: every method, in every package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.rpc import status_pb2
from grpc_tables import INFERENCE, MANAGEMENT, OPEN_INFERENCE, SERVICES, proto_file
from serving import RunningServer, workers

pytestmark = pytest.mark.e2e

FILES = {
    "inference": ("inference", INFERENCE),
    "management": ("management", MANAGEMENT),
    "open_inference": ("open_inference", OPEN_INFERENCE[0]),
    "kserve": ("open_inference", OPEN_INFERENCE[1]),
}


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """A folder with the generated modules."""
    folder = tmp_path_factory.mktemp("stubs")
    for name, (tables, package) in FILES.items():
        (folder / f"{name}.proto").write_text(proto_file(tables, package))
    common = Path(status_pb2.__file__).parents[2]
    run(
        *("-m", "grpc_tools.protoc", f"-I{folder}", f"-I{common}"),
        *(f"--python_out={folder}", f"--grpc_python_out={folder}"),
        *(f"{folder}/{name}.proto" for name in FILES),
    )
    return folder


@pytest.fixture(scope="module")
def answers(tmp_path_factory, stubs):
    running = RunningServer(tmp_path_factory.mktemp("generated"))
    running.properties |= {
        "enable_grpc": "true",
        "grpc_inference_port": "0",
        "grpc_management_port": "0",
        "ts_open_inference_protocol": "true",
    }
    declared = {"inputs": [{"name": "x", "datatype": "UINT64", "shape": [-1]}]}
    running.add("plain", "undecoded", **workers(1, maxBatchDelay=1))
    running.add("extra", "echo")
    running.add("arrays", "arrays", **workers(1), inputFormat="tensors", **declared)
    try:
        running.start("plain.mar arrays.mar")
        line = next(line for line in running.output().splitlines() if line.startswith("  gRPC "))
        addresses = line.split(None, 1)[1].split(", ")
        yield json.loads(run(Path(__file__).with_name("generated_client.py"), stubs, *addresses))
        running.stop()
    finally:
        running.close()


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_method_is_called(answers):
    called = {
        name: list(answers[name]) for name in ("inference", "management", "torchserve", "kserve")
    }
    for name, tables in (
        ("inference", "inference"),
        ("management", "management"),
        ("torchserve", "open_inference"),
        ("kserve", "open_inference"),
    ):
        assert sorted(called[name]) == sorted(SERVICES[tables][1])


def test_the_inference_service(answers):
    assert answers["inference"] == {
        "Ping": {"status": "Healthy"},
        "Predictions": "piece 0piece 1",
        "StreamPredictions": ["piece 0", "piece 1", '{\n  "na'],
        "StreamPredictions2": [False, True, 5, "Model not found: nobody"],
    }


def test_the_management_service(answers):
    said = answers["management"]

    assert said["ListModels"] == ["arrays", "extra", "plain"]
    assert said["DescribeModel"] == 3
    assert "extra" in said["RegisterModel"]
    assert "extra" in said["ScaleWorker"] or "2" in said["ScaleWorker"]
    assert "extra" in said["SetDefault"]
    assert "extra" in said["UnregisterModel"]


@pytest.mark.parametrize("package", ["torchserve", "kserve"])
def test_the_open_inference_protocol(answers, package):
    assert answers[package] == {
        "ServerLive": True,
        "ServerReady": True,
        "ModelReady": True,
        "ServerMetadata": "tsl",
        "ModelMetadata": ["arrays", ["1.0"], [["x", "UINT64", [-1]]]],
        "ModelInfer": [
            "mine",
            {"x": "UINT64", "about": "BYTES"},
            [1, 2**64 - 1],
            ["01" + "00" * 15],
        ],
    }
