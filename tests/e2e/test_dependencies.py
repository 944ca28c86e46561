"""Python packages per model: installed before the workers start, shared, and never in the way."""

import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from serving import RunningServer, eventually, is_alive, workers
from wheels import wheel

pytestmark = pytest.mark.e2e

NAME, WHEEL = wheel("tinypkg", "1.0", tinypkg="VERSION = '1.0'\n")
LOCAL = "--no-index\n--find-links wheels\ntinypkg==1.0\n"


def add(server, name, requirements, **config):
    """A model with a list of packages, and the wheel beside it."""
    files = {"requirements.txt": requirements, f"wheels/{NAME}": WHEEL}
    server.add(
        name, "packages", files=files, requirements="requirements.txt", **workers(1), **config
    )


class Index:
    """A place with packages on this machine, which does not answer before it is opened."""

    def __init__(self):
        gate, asked = threading.Event(), threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.set()
                gate.wait(60)
                body = WHEEL if self.path.endswith(".whl") else f'<a href="{NAME}">w</a>'.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                """Say nothing."""

        self.gate, self.asked = gate, asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def requirements(self):
        port = self._server.server_port
        return f"--no-index\n--find-links http://127.0.0.1:{port}/\ntinypkg\n"

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def index():
    index = Index()
    yield index
    index.close()


@pytest.fixture(scope="module")
def installing(tmp_path_factory):
    """A server that installs what models ask for."""
    running = RunningServer(tmp_path_factory.mktemp("deps"))
    running.properties["install_py_dep_per_model"] = "true"
    running.properties["install_py_dep_timeout"] = "60"
    add(running, "plain", LOCAL)
    add(running, "isolated", LOCAL, useVenv=True)
    running.add("echo", "echo", **workers(1))
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


def pips(server):
    """Pids of the installers of a server, also of one that is gone."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"pip" in words and bytes(server.folder) in b"\0".join(words):
                found.append(int(path.parent.name))
    return found


def has_lock_file_open(server):
    """Whether a server has, or waits for, the lock of an environment."""
    files = [path.readlink() for path in Path(f"/proc/{server.pid}/fd").iterdir()]
    return any(file.suffix == ".lock" and file.parent.name == "environments" for file in files)


def register(server, name):
    return server.manage("POST", f"/models?url={name}.mar")


def built(server):
    """The environments that are complete, by the inodes of their marks."""
    marks = (server.temp / "environments").glob("*/tsl-environment.json")
    return {mark.stat().st_ino for mark in marks}


def test_packages_are_installed_for_the_model_alone(installing):
    answer = installing.predict("plain").json()

    assert answer["version"] == "1.0"
    assert answer["from"].startswith(str(installing.temp / "environments"))
    said = "Successfully installed tinypkg-1.0"
    eventually(lambda: said in installing.log("model_log.log"), "pip's own words")


def test_a_virtual_environment_sees_the_servers_packages(installing):
    answer = installing.predict("isolated").json()

    assert answer["version"] == "1.0"
    assert answer["prefix"].startswith(str(installing.temp / "environments"))
    assert answer["from"].startswith(answer["prefix"])
    assert not answer["inherited"].startswith(answer["prefix"])


def test_equal_requirements_share_an_environment(installing):
    before = built(installing)
    add(installing, "second", LOCAL)

    assert register(installing, "second").status_code == 200

    assert built(installing) == before
    first, second = (installing.predict(name).json()["from"] for name in ("plain", "second"))
    assert first == second


def test_what_cannot_be_installed_is_a_clear_error_and_leaves_nothing(installing):
    add(installing, "missing", "--no-index\nno-such-package==9\n")

    answer = register(installing, "missing")

    assert answer.status_code == 400
    assert answer.json()["type"] == "ModelException"
    message = answer.json()["message"]
    assert "Custom pip package installation failed for model missing: pip ended with" in message
    assert str(installing.folder) not in message
    assert "missing" not in installing.model_names()
    eventually(lambda: "no-such-package==9" in installing.log("model_log.log"), "pip's own words")


def test_while_packages_are_installed_everything_else_goes_on(installing, index):
    """Two models ask for the same packages at once: they are installed once."""
    before = built(installing)
    for name in ("slow", "slow-too"):
        add(installing, name, index.requirements)
    with ThreadPoolExecutor(2) as executor:
        answers = [executor.submit(register, installing, name) for name in ("slow", "slow-too")]
        assert index.asked.wait(30)

        assert installing.predict("echo", b"hello").text == "hello"
        add(installing, "third", LOCAL)
        assert register(installing, "third").status_code == 200
        assert not any(answer.done() for answer in answers)

        index.gate.set()
        assert [answer.result(60).status_code for answer in answers] == [200, 200]
    assert len(built(installing) - before) == 1
    assert installing.predict("slow-too").json()["version"] == "1.0"


def test_installing_has_a_time_limit(server, index):
    server.properties["install_py_dep_per_model"] = "true"
    server.properties["install_py_dep_timeout"] = "1"
    server.launch(models="")
    server.wait_started()
    add(server, "slow", index.requirements)

    answer = register(server, "slow")

    assert answer.status_code == 400
    assert "longer than install_py_dep_timeout (1 s)" in answer.json()["message"]
    eventually(lambda: not pips(server), "the installer is ended")
    server.stop()


def test_an_environment_that_was_not_finished_is_built_anew_and_then_kept(server, index):
    """The server dies; its installer still writes when the next server wants the same."""
    server.properties["install_py_dep_per_model"] = "true"
    add(server, "model", index.requirements, useVenv=True)
    server.launch()
    assert index.asked.wait(30)
    (pip,) = eventually(lambda: pips(server), "pip runs")
    server.process.kill()
    server.wait_ended()
    assert is_alive(pip)
    server.console.unlink()
    for left in server.temp.glob("tsl-*"):  # it had no time to clean up
        shutil.rmtree(left)

    server.launch()
    eventually(lambda: has_lock_file_open(server), "it wants the environment")
    assert pips(server) == [pip]
    index.gate.set()
    eventually(lambda: not is_alive(pip), "the old installer ends", 30)
    server.wait_started()
    server.wait_ready("model")
    (environment,) = built(server)
    assert server.predict("model").json()["version"] == "1.0"
    server.stop()

    server.console.unlink()
    index.close()
    server.start()
    assert built(server) == {environment}
    assert server.predict("model").json()["version"] == "1.0"
    server.stop()
