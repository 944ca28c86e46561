"""The commands that talk to a running server, against one that asks for keys."""

import json
import subprocess
import threading

import pytest
from serving import TSL, RunningServer, eventually, workers

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = RunningServer(tmp_path_factory.mktemp("terminal"))
    server.add("echo", "echo", **workers(1))
    server.add("two", "echo")
    server.add("two", "echo", version="2.0")
    server.properties["disable_token_authorization"] = "false"
    server.properties["metrics_mode"] = "prometheus"
    try:
        server.launch(models="echo.mar").wait_started()
        eventually(lambda: "is ready" in server.log("ts_log.log"), "echo is ready", 30)
        yield server
        server.stop()
    finally:
        server.close()


def tsl(server, line, within=60):
    result = subprocess.run(
        [*TSL, *line.split()],
        cwd=server.folder,
        env=server.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
    )
    return result.returncode, result.stdout, result.stderr


def listed(server):
    _, out, _ = tsl(server, "models --json")
    return {(row["model"], row["version"]): row for row in json.loads(out)}


def test_a_model_from_its_registration_to_its_end(running):
    code, out, err = tsl(running, "register two.mar --workers 1 --batch-size 3")
    assert (code, err) == (0, "")
    assert out == 'Model "two" Version: 1.0 registered with 1 initial workers\n'
    assert tsl(running, "register two-2.0.mar --workers 0")[0] == 0

    code, out, _ = tsl(running, "scale two 2 --version 2.0")
    assert (code, out) == (0, "Workers scaled to 2 for model: two, version: 2.0\n")
    assert tsl(running, "set-default two 2.0")[0] == 0

    rows = listed(running)
    assert rows[("two", "1.0")]["batchSize"] == 3
    assert rows[("two", "2.0")]["default"]
    assert rows[("two", "2.0")]["workersReady"] == 2
    code, out, _ = tsl(running, "describe two")
    assert code == 0
    assert out.count("READY") == 2

    for version in ("1.0", "2.0"):
        assert tsl(running, f"unregister two {version}")[0] == 0
    assert list(listed(running)) == [("echo", "1.0")]


def test_what_the_server_refuses_is_told_in_its_words(running):
    code, out, err = tsl(running, "describe nowhere")

    assert (code, out) == (1, "")
    assert err == "Model not found: nowhere\n"


def test_top_shows_what_is_served_and_asked(running):
    key = json.loads((running.folder / "key_file.json").read_text())["inference"]["key"]
    is_done = threading.Event()

    def ask():
        while not is_done.wait(0.01):
            running.predict("echo", b"x", headers={"Authorization": f"Bearer {key}"})

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        code, out, _ = tsl(running, "top --json --interval 1")
    finally:
        is_done.set()
        asking.join()

    assert code == 0
    (row,) = json.loads(out)
    assert (row["name"], row["state"], row["ready"]) == ("echo", "ready", 1)
    assert row["requests_per_s"] > 0
    assert 0 < row["p50_ms"] <= row["p99_ms"]


def test_logs_shows_and_follows(running):
    code, out, _ = tsl(running, "logs -n 1000")
    assert code == 0
    assert "is ready" in out

    process = subprocess.Popen(
        [*TSL, "logs", "access", "-f", "-n", "0"],
        cwd=running.folder,
        env=running.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        # Asking again and again: whatever came before the first look is not followed.
        eventually(lambda: asks_and_sees(running, process), "the line is followed", 30)
    finally:
        process.kill()
        process.communicate()


def asks_and_sees(server, process):
    import select

    tsl(server, "status")
    readable, _, _ = select.select([process.stdout], [], [], 1)
    return readable and "GET /ping" in process.stdout.readline()
