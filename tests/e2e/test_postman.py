"""The collections of tests/postman, run by newman, which `scripts/postman` fetches.

Skipped where there is no newman: nothing is downloaded by a test.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from certificates import Identity
from serving import RunningServer, eventually, workers

COLLECTIONS = Path(__file__).parent.parent / "postman"
NEWMAN = os.environ.get("NEWMAN") or shutil.which("newman")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(NEWMAN is None, reason="needs newman; scripts/postman fetches it"),
]


def run(server, name, *options, **values):
    """Run a collection against a server; fails with what newman says.

    Args:
        server: it runs.
        name: of the collection.
        options: further ones for newman.
        values: variables of the collection, beside the addresses.
    """
    values = {
        "inference": server.inference,
        "management": server.management,
        "metrics": server.record()["metrics"],
        **values,
    }
    report = server.folder / "report.json"
    result = subprocess.run(
        [NEWMAN, "run", COLLECTIONS / f"{name}.json", "--color", "off"]
        + ["--reporters", "cli,json", "--reporter-json-export", report]
        + [f"--env-var={key}={value}" for key, value in values.items()]
        + [*options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    stats = json.loads(report.read_text())["run"]["stats"]
    assert stats["assertions"]["total"] >= stats["requests"]["total"] > 0


def test_management(server):
    server.add("echo", "echo")
    server.add("echo", "echo", version="2.0")
    server.start(models="")

    run(server, "management")

    server.stop()


def test_inference(server):
    server.properties["metrics_mode"] = "prometheus"
    for name in ("echo", "form", "stream", "dying"):
        server.add(name, name, **workers(1))
    server.start()

    run(server, "inference")

    server.stop()


def test_explanation(server):
    server.add("explains", "explaining", **workers(1))
    server.start()

    run(server, "explanation")

    server.stop()


def test_kserve(server):
    server.properties |= {"service_envelope": "kserve", "ts_open_inference_protocol": "true"}
    server.add("explains", "explaining", **workers(1))
    server.start()

    run(server, "kserve")

    server.stop()


def test_https(tmp_path_factory):
    """With keys, as a server is by default; newman trusts the certificate of the test."""
    server = RunningServer(tmp_path_factory.mktemp("https"))
    key, certificate = Identity(server.folder).write_pem()
    server.properties |= {
        "inference_address": "https://127.0.0.1:0",
        "management_address": "https://localhost:0",
        "private_key_file": key,
        "certificate_file": certificate,
        "disable_token_authorization": "false",
    }
    server.add("echo", "echo", **workers(1))
    file = server.folder / "key_file.json"
    try:
        server.launch()
        server.wait_started()
        eventually(lambda: "W-9000-echo_1.0 is ready" in server.output(), "echo serves")
        keys = {name: entry["key"] for name, entry in json.loads(file.read_text()).items()}

        run(
            server,
            "https",
            *["--ssl-extra-ca-certs", certificate],
            inference_key=keys["inference"],
            management_key=keys["management"],
            api_key=keys["API"],
        )
        server.stop()
    finally:
        server.close()
