"""The entry point of the container, as platforms run it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests
from serving import build_archive, eventually, workers

pytestmark = pytest.mark.e2e


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_start_for_vertex_stays_serves_its_paths_and_ends_by_sigterm(server):
    server.add("echo", "echo", **workers(1))
    port = free_port()
    prefix = "/v1/endpoints/1/deployedModels/2"
    server.environ |= {
        "AIP_HTTP_PORT": str(port),
        "AIP_HEALTH_ROUTE": prefix,
        "AIP_PREDICT_ROUTE": f"{prefix}:predict",
    }
    words = server.command(models="echo.mar")
    with server.console.open("ab") as console:
        server.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "tsl.cli.container"),
                *("torchserve", "--start"),
                *words[words.index("start") + 1 :],
            ],
            cwd=server.folder,
            env=server.environ,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    server.wait_started()
    url = f"http://127.0.0.1:{port}{prefix}"

    eventually(lambda: requests.get(url, timeout=5).status_code == 200, "it is ready")
    answer = requests.post(f"{url}:predict", json={"instances": [1]}, timeout=10)

    assert answer.status_code == 200
    assert answer.json() == {"instances": [1]}
    server.stop()


# -- a container without an engine -----------------------------------------------------------------

HERE = Path(__file__).parent
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--net"]
RUN = [sys.executable, "-P", "-m", "tsl.cli.container"]
STATUS = [sys.executable, "-P", "-m", "tsl.cli", "status"]
JSON = {"Content-Type": "application/json"}
INFERENCE = "http://127.0.0.1:8080"
KSERVE_CONFIG = """
inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8085
metrics_address=http://0.0.0.0:8082
grpc_inference_port=7070
grpc_management_port=7071
enable_metrics_api=true
metrics_format=prometheus
metrics_mode=prometheus
number_of_netty_threads=4
job_queue_size=10
enable_envvars_config=true
install_py_dep_per_model=true
model_store=/mnt/models/model-store
model_snapshot={"name":"startup.cfg","modelCount":1,"models":{"echo":{"1.0":{"defaultVersion":true,\
"marName":"echo.mar","minWorkers":1,"maxWorkers":5,"batchSize":1,"maxBatchDelay":10,\
"responseTimeout":120}}}}
"""


def can_unshare():
    """Whether this machine lets us have mounts and a network of our own."""
    if shutil.which("unshare") is None:
        return False
    words = [*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.fixture
def image(tmp_path):
    """What the Dockerfile puts below ``/``; returns the folder and a way to run in it."""
    if not can_unshare():
        pytest.skip("needs user namespaces")
    layer, root = tmp_path / "layer", tmp_path / "root"
    home = layer / "home" / "model-server"
    for folder in (root, home / "model-store", home / "tmp"):
        folder.mkdir(parents=True)
    shutil.copy(HERE.parent.parent / "docker" / "config.properties", home)

    def run(words, ready, asks, *, commands=(), **environ):
        order = {
            "command": [*RUN, *words],
            "environ": {"TEMP": "/home/model-server/tmp", "PYTHONUNBUFFERED": "1", **environ},
            "ready": ready,
            "asks": asks,
            "commands": list(commands),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TS_")}
        result = subprocess.run(
            [
                *UNSHARE,
                *(sys.executable, HERE / "enter_container.py", layer, root),
                *(sys.executable, HERE / "container_probe.py"),
            ],
            input=json.dumps(order),
            env=kept,
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        print(result.stderr)  # shown when the test fails
        assert result.returncode == 0
        return json.loads(result.stdout)

    return layer, run


def test_the_image_serves_its_store_and_knows_its_health(image):
    layer, run = image
    build_archive(layer / "home" / "model-server" / "model-store", "echo", "echo")

    found = run(
        [],
        "http://127.0.0.1:8082/metrics",
        [["POST", f"{INFERENCE}/predictions/echo", "x"]],
        commands=[STATUS],
        TSL_INFERENCE_KEY="inference-key-of-the-test",
        TSL_MANAGEMENT_KEY="management-key-of-the-test",
    )

    assert found["exit"] == 0
    assert found["answers"][0][0] == 400  # without a key
    assert found["codes"] == [0]


def test_kserve_s_arguments_and_file_serve_version_1(image):
    layer, run = image
    models = layer / "mnt" / "models"
    for folder in ("config", "model-store"):
        (models / folder).mkdir(parents=True)
    (models / "config" / "config.properties").write_text(KSERVE_CONFIG)
    build_archive(models / "model-store", "echo", "explaining")

    found = run(
        [
            *("torchserve", "--start", "--model-store=/mnt/models/model-store"),
            "--ts-config=/mnt/models/config/config.properties",
        ],
        f"{INFERENCE}/v1/models/echo",
        [
            ["GET", f"{INFERENCE}/v1/models/echo"],
            [
                "POST",
                f"{INFERENCE}/v1/models/echo:predict",
                '{"instances": [{"data": "a"}, {"data": "b"}]}',
                JSON,
            ],
            ["GET", "http://127.0.0.1:8082/metrics"],
        ],
        PROTOCOL_VERSION="v1",
        TS_SERVICE_ENVELOPE="kserve",
    )

    model, prediction, metrics = found["answers"]
    assert found["exit"] == 0
    assert json.loads(model[1]) == {"name": "echo", "ready": True}
    assert prediction[0] == 200
    assert len(json.loads(prediction[1])["predictions"]) == 2
    assert "ts_inference_requests_total" in metrics[1]


def test_sagemaker_s_serve_finds_its_model(image):
    layer, run = image
    model = layer / "opt" / "ml" / "model"
    model.mkdir(parents=True)
    build_archive(model, "echo", "echo")

    found = run(
        ["serve"],
        f"{INFERENCE}/ping",
        [["POST", f"{INFERENCE}/invocations", "x"], ["GET", "http://127.0.0.1:8081/models"]],
    )

    assert found["exit"] == 0
    assert found["answers"][0] == [200, "x"]
    assert json.loads(found["answers"][1][1])["models"][0]["modelName"] == "echo"


def test_sagemaker_manages_several_models_at_one_port(image):
    layer, run = image
    model = layer / "opt" / "ml" / "models" / "abc" / "model"
    model.mkdir(parents=True)
    with zipfile.ZipFile(build_archive(layer, "echo", "echo")) as archive:
        archive.extractall(model)  # the platform has unpacked what it fetched
    register = json.dumps({"model_name": "m1", "url": "/opt/ml/models/abc/model"})

    found = run(
        ["serve"],
        f"{INFERENCE}/ping",
        [
            ["POST", f"{INFERENCE}/models", register, JSON],
            ["GET", f"{INFERENCE}/models"],
            ["POST", f"{INFERENCE}/models/m1/invoke", "x"],
            ["DELETE", f"{INFERENCE}/models/m1"],
            ["POST", f"{INFERENCE}/models/m1/invoke", "x"],
        ],
        SAGEMAKER_MULTI_MODEL="true",
        SAGEMAKER_BIND_TO_PORT="8080",
        SAGEMAKER_SAFE_PORT_RANGE="20000-20999",
    )

    statuses = [status for status, _ in found["answers"]]
    assert found["exit"] == 0
    assert statuses == [200, 200, 200, 200, 404], found["answers"]
    assert found["answers"][2][1] == "x"
