"""``tsl start``, ``status`` and ``stop`` as people and scripts use them."""

import contextlib
import itertools
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest
import requests
from serving import TSL, can_connect, eventually, is_alive, members_of, workers
from wire import connect, post, read_response

pytestmark = pytest.mark.e2e

numbers = itertools.count()


def tsl(server, *arguments, within=40):
    """Run a command in the server's surroundings; its output goes to files, as daemons' does."""
    out = server.folder / f"out{next(numbers)}.txt"  # a server goes on writing to its own
    with out.open("w") as file:
        result = subprocess.run(
            [*TSL, *arguments],
            cwd=server.folder,
            env=server.environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=within,
        )
    return result.returncode, out.read_text()


def start_words(server, **options):
    """The words of a background start behind ``tsl``."""
    return server.command(**options)[len(TSL) :]


@pytest.fixture
def background(server):
    """A server that is started in the background; ended by force if a test has not done so."""
    yield server
    record = server.record()
    if record is not None:
        for pid in members_of(record["pid"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_background_start_returns_when_the_models_are_ready(background):
    server = background
    server.add("echo", "echo", **workers(2))

    code, text = tsl(server, *start_words(server))

    assert code == 0
    record = server.record()
    lines = text.splitlines()
    assert "Model server started." in lines
    assert f"  inference   {record['inference']}" in lines
    assert f"  management  {record['management']}" in lines
    assert "  ready       echo 1.0 (2/2 workers" in text
    assert f"  curl {record['inference']}/predictions/echo -T FILE" in lines
    # Everything it promised is there at once, and the command it shows works.
    answer = requests.post(f"{record['inference']}/predictions/echo", data=b"hi", timeout=5)
    assert answer.content == b"hi"

    code, text = tsl(server, "status")
    assert code == 0
    assert re.search(r"Healthy: process \d+", text)
    assert re.search(r"echo +1\.0 +ready +2/2 +0", text)

    code, text = tsl(server, "stop")
    assert (code, text.strip()) == (0, "TorchServe has stopped.")
    assert not is_alive(record["pid"])
    assert members_of(record["pid"]) == []
    assert server.record() is None
    assert list(server.temp.glob("tsl-*")) == []


def test_on_a_terminal_the_start_shows_the_summary_and_the_log_goes_to_a_file(background):
    server = background
    server.add("echo", "echo", **workers(1))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        server.command(),
        cwd=server.folder,
        env=server.environ,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = bytearray()

    def read():
        with contextlib.suppress(OSError):
            while data := os.read(master, 4096):
                shown.extend(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    code = process.wait(40)
    reader.join(10)
    os.close(master)

    text = shown.decode().replace("\r", "")
    assert code == 0
    assert "Model server started." in text
    assert "ready       echo 1.0 (1/1 workers" in text
    assert "tsl.frontend" not in text
    assert "is ready" in server.log("ts_log.log")
    assert server.predict("echo", b"after the terminal is gone").ok
    assert tsl(server, "stop")[0] == 0


def test_the_log_files_exist(background):
    server = background
    server.add("echo", "echo", **workers(1))
    tsl(server, *start_words(server))
    server.predict("echo", b"x")
    tsl(server, "stop")

    assert {file.name for file in server.logs.iterdir()} >= {
        "access_log.log",
        "model_log.log",
        "model_metrics.log",
        "ts_log.log",
    }
    assert '"POST /predictions/echo HTTP/1.1" 200' in server.log("access_log.log")
    assert "Server stopped" in server.log("ts_log.log")


def test_a_second_start_is_refused_and_harms_nothing(background):
    server = background
    server.add("echo", "echo", **workers(1))
    tsl(server, *start_words(server))

    for foreground in ([], ["--foreground"]):
        code, text = tsl(server, *start_words(server), *foreground)

        assert code == 1
        assert "TorchServe is already running" in text
        assert server.record()["inference"] in text
    assert server.predict("echo", b"still here").content == b"still here"
    assert tsl(server, "stop")[0] == 0


def test_status_and_stop_without_a_server(server):
    code, text = tsl(server, "status")
    assert (code, text.strip()) == (3, "TorchServe is not currently running.")

    code, text = tsl(server, "stop")
    assert (code, text.strip()) == (0, "TorchServe is not currently running.")


def test_a_stale_pid_file_is_not_believed(background):
    """Its process lives, but is somebody else: the number was used again."""
    server = background
    server.add("echo", "echo", **workers(1))
    bystander = subprocess.Popen(["sleep", "300"])
    file = server.temp / f".tsl_server_{os.getuid()}.pid"
    record = {
        "pid": bystander.pid,
        "start_ticks": 1,
        "inference": "http://127.0.0.1:1",
        "management": "http://127.0.0.1:2",
        "metrics": "",
        "working_dir": "/",
        "started_at": "2026-01-01T00:00:00+00:00",
        "stop_within_s": 5.0,
    }
    file.write_text(json.dumps(record))

    try:
        assert tsl(server, "status")[0] == 3
        assert tsl(server, "stop")[0] == 0
        assert bystander.poll() is None
        assert tsl(server, *start_words(server))[0] == 0
        assert server.record()["pid"] != bystander.pid
        assert tsl(server, "stop")[0] == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_port_that_is_taken_is_named(background):
    server = background
    server.add("echo", "echo", **workers(1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        server.properties["management_address"] = address

        code, text = tsl(server, *start_words(server))

    assert code == 1
    assert f"The address {address} is in use by another process." in text
    assert "Traceback" not in text
    assert server.record() is None
    assert list(server.temp.glob("tsl-*")) == []


def test_a_missing_model_store_is_named(server):
    shutil.rmtree(server.store)

    code, text = tsl(server, *start_words(server))

    assert code == 1
    assert f"The model store {server.store} is not a folder." in text
    assert "mkdir" in text


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--models", "absent.mar"], "absent.mar"),
        (["--models", "broken.mar"], "broken.mar"),
    ],
    ids=["absent", "broken"],
)
def test_an_archive_that_cannot_be_used_is_reported_and_the_others_serve(background, option, words):
    server = background
    server.add("echo", "echo", **workers(1))
    (server.store / "broken.mar").write_bytes(b"this is no zip file")

    code, text = tsl(server, *start_words(server, models=None), *option, "echo.mar")

    assert code == 0
    failed = [line for line in text.splitlines() if line.startswith("  failed")]
    assert len(failed) == 1
    assert words in failed[0]
    assert "  ready       echo 1.0 (1/1 workers" in text
    assert tsl(server, "status")[0] == 0
    assert tsl(server, "stop")[0] == 0


def test_a_wrong_setting_is_named(server):
    server.properties["job_queue_size"] = "many"

    code, text = tsl(server, *start_words(server))

    assert code == 1
    assert "job_queue_size" in text
    assert "many" in text
    assert "Traceback" not in text


def test_an_unknown_option_is_a_usage_error(server):
    code, text = tsl(server, "start", "--modelstore", "x")

    assert code == 2
    assert "--modelstore" in text


def test_stop_reports_a_server_that_takes_too_long(background):
    server = background
    server.add("sleepy", "sleepy", **workers(1))
    tsl(server, *start_words(server))
    pid = server.record()["pid"]
    with connect(server.endpoint) as client, client.makefile("rb") as stream:
        client.sendall(
            post("/predictions/sleepy", b'{"sleep": 1.5}', "Content-Type: application/json")
        )
        eventually(lambda: server.describe("sleepy"), "it is sent")

        code, text = tsl(server, "stop", "--timeout", "0.3")

        assert code == 1
        assert f"kill -9 {pid}" in text
        assert read_response(stream)[0] == 200
    eventually(lambda: not is_alive(pid), "it ends by itself")


def test_status_of_a_server_with_a_failed_model_is_unhealthy(background):
    server = background
    server.add("failing", "failing", **workers(1, maxRetryTimeoutInSec=0))
    code, text = tsl(server, *start_words(server))
    assert code == 0
    assert "  failed      failing 1.0: RuntimeError: the weights are not there" in text

    code, text = tsl(server, "status")

    assert code == 4
    assert re.search(r"failing +1\.0 +not ready +0/1", text)
    assert tsl(server, "stop")[0] == 0


def test_a_launcher_that_goes_away_does_not_take_the_server_with_it(background):
    """The output of a background start is a pipe that its reader closes."""
    server = background
    server.add("echo", "echo", **workers(1))
    process = subprocess.Popen(
        server.command(),
        cwd=server.folder,
        env=server.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.wait(40) == 0
    process.stdout.close()

    for number in range(20):
        assert server.predict("echo", b"%d" % number).ok
    assert tsl(server, "stop")[0] == 0


def test_inference_may_listen_on_a_unix_socket(server):
    path = server.folder / "inference.sock"
    server.properties["inference_address"] = f"unix:{path}"
    server.add("echo", "echo", **workers(1))
    server.launch()
    server.wait_started()
    server.wait_ready("echo")

    with connect(str(path)) as client, client.makefile("rb") as stream:
        for number in range(3):
            client.sendall(post("/predictions/echo", b"%d" % number))
            assert read_response(stream)[2] == b"%d" % number
    assert f"curl --unix-socket {path} http://localhost/predictions/echo" in eventually(
        lambda: "Try:" in server.output() and server.output(), "the summary"
    )

    server.send_signal()
    assert server.wait_ended() == 0
    assert not path.exists()
    assert server.members() == []


def test_a_socket_file_that_nobody_listens_on_is_replaced(server):
    path = server.folder / "inference.sock"
    server.properties["inference_address"] = f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert path.exists()

    server.launch(models="")
    server.wait_started()

    with connect(str(path)) as client, client.makefile("rb") as stream:
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: test\r\n\r\n")
        assert read_response(stream)[0] == 200
    server.send_signal()
    assert server.wait_ended() == 0


def test_a_unix_socket_in_use_is_not_taken_away(server):
    path = server.folder / "inference.sock"
    server.properties["inference_address"] = f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        code, text = tsl(server, *start_words(server, models=""))

        assert code == 1
        assert "in use by another process" in text
        assert path.exists()
        assert can_connect_unix(path)


def can_connect_unix(path):
    with connect(str(path)):
        return True


def test_the_addresses_of_a_stopped_server_are_free_at_once(server):
    server.add("echo", "echo", **workers(1))
    server.start()
    endpoint = server.endpoint
    server.predict("echo", b"x")
    server.stop()
    server.properties["inference_address"] = f"http://{endpoint[0]}:{endpoint[1]}"
    server.console.unlink()

    server.start()

    assert server.endpoint == endpoint
    assert can_connect(endpoint)
    server.stop()
