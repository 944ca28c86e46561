"""KServe's own clients, in an environment of their own.

The package `kserve` asks for versions of libraries that tsl's environment does not have. So these
tests run with ``TSL_KSERVE_PYTHON``, the Python of an environment that has it::

    python -m venv kserve-env && kserve-env/bin/pip install kserve
    TSL_KSERVE_PYTHON=kserve-env/bin/python scripts/test tests/e2e/test_kserve_clients.py
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import RunningServer, workers

PYTHON = os.environ.get("TSL_KSERVE_PYTHON") or (
    sys.executable if importlib.util.find_spec("kserve") else ""
)
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not PYTHON, reason="TSL_KSERVE_PYTHON names no environment with the package kserve"
    ),
]
OUTPUTS = {
    "x": [[1.5, -2.0]],
    "text": ["one", "two"],
    "flags": [True, False],
    "about": ["x float32 (1, 2)", "text object (2,)", "flags bool (2,)"],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the clients said."""
    running = RunningServer(tmp_path_factory.mktemp("kserve"))
    running.properties |= {
        "enable_grpc": "true",
        "grpc_inference_port": "0",
        "grpc_management_port": "0",
        "ts_open_inference_protocol": "true",
    }
    running.add("echo", "echo", **workers(1))
    running.add("arrays", "arrays", **workers(1), inputFormat="tensors")
    running.add("idle", "echo")
    try:
        running.start("echo.mar arrays.mar")
        running.manage("POST", "/models?url=idle.mar&initial_workers=0")
        line = next(line for line in running.output().splitlines() if line.startswith("  gRPC "))
        address = line.split(None, 1)[1].split(", ")[0]
        script = Path(__file__).with_name("kserve_client.py")
        done = subprocess.run(
            [PYTHON, str(script), running.inference, address],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout.splitlines()[-1])
        running.stop()
    finally:
        running.close()


def test_the_first_version(found):
    answers = found["v1"]

    assert answers["live"] is answers["ready"] is True
    assert answers["idle"] is False
    assert answers["predict"] == answers["explain"] == {"instances": [1, 2]}
    for refused in (answers["unknown"], answers["unknown ready"]):
        assert refused[0] == 404
        assert refused[1].startswith("Model not found: nobody")


def test_the_second_version(found):
    answers = found["v2"]

    assert answers["live"] is answers["ready"] is answers["model ready"] is True
    assert answers["idle"] is False
    for form in ("binary", "json"):
        assert answers[form] == {"id": "mine", "model": "arrays", "outputs": OUTPUTS}
    assert answers["unknown"][0] == 404
    assert answers["unknown"][1].startswith("Model not found: nobody")


def test_over_grpc(found):
    answers = found["grpc"]

    assert answers["live"] is answers["ready"] is answers["model ready"] is True
    assert answers["idle"] is False
    for form in ("raw", "typed"):
        assert answers[form] == {"id": "mine", "model": "arrays", "outputs": OUTPUTS}
    assert answers["unknown"] == ["NOT_FOUND", "Model not found: nobody"]
