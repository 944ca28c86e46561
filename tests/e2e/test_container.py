"""The entry point of the container, as platforms run it."""

import socket
import subprocess
import sys

import pytest
import requests
from serving import eventually, workers

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
