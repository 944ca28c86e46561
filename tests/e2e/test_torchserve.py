"""The command ``torchserve`` as launch scripts, containers and SageMaker's toolkit use it."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from serving import eventually, is_alive, members_of, workers

pytestmark = pytest.mark.e2e

TORCHSERVE = [sys.executable, "-P", "-m", "tsl.cli.torchserve"]
MARKER = "org.pytorch.serve.ModelServer"


def torchserve(server, *words, **options):
    """Run the command to its end, its output in a file as a script would have it."""
    with server.console.open("ab") as console:
        return subprocess.run(
            [*TORCHSERVE, *words],
            cwd=server.folder,
            env=server.environ,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            check=False,
            timeout=60,
            **options,
        ).returncode


def start_words(server, *more):
    """The words of a start, with the settings in the file."""
    words = server.command(models="echo.mar")
    return ["--start", *words[words.index("start") + 1 :], *more]


def marked(server):
    """All processes with the marker whose temporary folder is the server's."""
    found = []
    for process in psutil.process_iter():
        try:
            if MARKER in process.cmdline() and process.environ().get("TEMP") == str(server.temp):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def background(server):
    yield server
    record = server.record()
    if record is not None:
        for pid in members_of(record["pid"]):
            os.kill(pid, signal.SIGKILL)


def test_a_background_start_serves_is_found_by_sagemaker_and_stops(background):
    server = background
    server.add("echo", "echo", **workers(2))

    assert torchserve(server, *start_words(server)) == 0

    pid = server.record()["pid"]
    assert "Model server started.\n" in server.output()
    assert server.predict("echo", b"hi").content == b"hi"
    assert marked(server) == [pid]
    assert (server.temp / ".model_server.pid").read_text() == f"{pid}\n"
    # The launcher has gone; its pipe still gets the log.
    seen = len(server.output())
    server.predict("echo", b"again")
    eventually(lambda: "/predictions/echo" in server.output()[seen:], "the access line")

    assert torchserve(server, "--start", "--model-store", str(server.store)) == 1
    assert "TorchServe is already running, please use torchserve --stop" in server.output()

    assert torchserve(server, "--stop") == 0
    assert not is_alive(pid)
    assert not (server.temp / ".model_server.pid").exists()
    assert torchserve(server, "--stop", "--foreground") == 0
    assert "TorchServe is not currently running." in server.output()


def test_in_the_foreground_the_process_is_the_server(server):
    server.add("echo", "echo", **workers(1))
    with server.console.open("ab") as console:
        server.process = subprocess.Popen(
            [*TORCHSERVE, *start_words(server, "--foreground")],
            cwd=server.folder,
            env=server.environ,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    server.wait_started()
    server.wait_ready("echo")

    assert marked(server) == [server.process.pid]
    server.stop()


@pytest.mark.parametrize("foreground", [[], ["--foreground"]], ids=["background", "foreground"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Missing mandatory parameter --model-store"),
        (["--model-store", "absent"], "model store absent is not a folder"),
        (["--model-store", "store", "--ts-config", "absent"], "absent cannot be read"),
        (["--model-store", "store", "--log-config", "absent"], "absent cannot be read"),
    ],
    ids=["no store", "store absent", "configuration absent", "log configuration absent"],
)
def test_what_cannot_start_ends_with_1(server, words, says, foreground):
    assert torchserve(server, "--start", *words, *foreground) == 1
    assert says in server.output()


def test_the_console_script_is_quick_to_start_because_it_imports_next_to_nothing():
    code = "import sys, tsl.cli.torchserve as m; m.parser(); print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"torch", "numpy", "uvloop", "click", "tsl.backend", "tsl.frontend"} & set(loaded)
