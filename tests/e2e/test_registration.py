"""Models from a server on the network: fetched, checked, and gone without a trace when they fail."""

import hashlib
import http.server
import threading

import pytest
from serving import RunningServer, build_archive, eventually, workers

pytestmark = pytest.mark.e2e


class Archives(http.server.ThreadingHTTPServer):
    """Offers the files of a folder; ``/moved/X`` redirects, and ``/stalls/X`` never ends."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.is_stalling = threading.Event()
        self.may_go_on = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def end(self):
        self.may_go_on.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        where, _, name = self.path.rpartition("/")
        if where == "/moved":
            self.send_response(302)
            self.send_header("Location", f"/{name}")
            self.end_headers()
            return
        if where == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest")
            self.end_headers()
            return
        content = (self.server.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100])
        if where == "/stalls":
            self.wfile.flush()
            self.server.is_stalling.set()
            self.server.may_go_on.wait(60)
        self.wfile.write(content[100:])

    def log_message(self, *arguments):
        """Not to the tests' output."""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    build_archive(folder, "echo", "echo", config=workers(1))
    build_archive(folder, "failing", "failing", config=workers(1, maxRetryTimeoutInSec=1))
    (folder / "broken.mar").write_bytes(b"PK\x03\x04" + b"x" * 500)
    served = Archives(folder)
    yield served
    served.end()


@pytest.fixture(scope="module")
def empty(tmp_path_factory, archives):
    running = RunningServer(tmp_path_factory.mktemp("empty"))
    running.properties["allowed_urls"] = f"{archives.url('')}.*"
    try:
        running.start(models="")
        yield running
        running.stop()
    finally:
        running.close()


def register(server, url, **values):
    query = "".join(f"&{name}={value}" for name, value in values.items())
    return server.manage("POST", f"/models?url={url}{query}")


def traces(server):
    """What registrations leave on the disk."""
    unpacked = server.temp / "models"
    folders = [path.name for path in unpacked.iterdir()] if unpacked.exists() else []
    return sorted(path.name for path in server.store.iterdir()), sorted(folders)


@pytest.mark.parametrize("path", ["echo.mar", "moved/echo.mar"])
def test_an_archive_is_fetched_checked_served_and_forgotten(empty, archives, path):
    digest = hashlib.sha256((archives.folder / "echo.mar").read_bytes()).hexdigest()
    url = archives.url(path)

    assert register(empty, url, sha256=digest).status_code == 200

    assert empty.predict("echo", b"hi").content == b"hi"
    assert empty.describe("echo")["modelUrl"] == url
    assert traces(empty)[0] == ["echo.mar"]
    assert empty.manage("DELETE", "/models/echo").status_code == 200
    assert traces(empty) == ([], [])


@pytest.mark.parametrize(
    ("path", "values", "status", "reason"),
    [
        ("echo.mar", {"sha256": "0" * 64}, 400, "SHA-256"),
        ("echo.mar", {"sha256": "short"}, 400, "64 hexadecimal"),
        ("echo.mar", {"batch_size": 0}, 400, "batch_size"),
        ("echo.mar", {"max_batch_delay": -2}, 400, "max_batch_delay"),
        ("echo.mar", {"initial_workers": 100000}, 400, "initial_workers"),
        ("echo.mar", {"response_timeout": 0}, 400, "response_timeout"),
        ("echo.mar", {"startup_timeout": -5}, 400, "startup_timeout"),
        ("echo.mar", {"runtime": "java"}, 400, "RuntimeType"),
        ("echo.mar", {"model_name": "a%2Fb"}, 400, "model_name"),
        ("echo.mar", {"s3_sse_kms": "true"}, 400, "AWS_ACCESS_KEY_ID"),
        ("broken.mar", {"model_name": "b"}, 400, ""),
        ("away/echo.mar", {}, 404, "169.254.169.254"),
        ("none.mar", {}, 400, "Failed to download"),
        ("failing.mar", {}, 500, "Failed to start workers"),
    ],
)
def test_what_fails_says_why_and_leaves_nothing_behind(
    empty, archives, path, values, status, reason
):
    answer = register(empty, archives.url(path), **values)

    assert answer.status_code == status, answer.text
    assert reason in answer.json()["message"]
    assert str(empty.folder) not in answer.text
    assert empty.model_names() == []
    assert traces(empty) == ([], [])


def test_a_local_archive_is_checked_as_well(empty):
    archive = build_archive(empty.store, "local", "echo")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()

    assert register(empty, "local.mar", sha256="f" * 64).status_code == 400
    assert register(empty, "local.mar", sha256=digest).status_code == 200
    assert empty.manage("DELETE", "/models/local").status_code == 200
    archive.unlink()


def test_a_stop_does_not_wait_for_a_download(tmp_path_factory, archives):
    server = RunningServer(tmp_path_factory.mktemp("stopped"))
    server.properties |= {"allowed_urls": f"{archives.url('')}.*", "drain_timeout": "1"}
    answers = []
    try:
        server.start(models="")
        asking = threading.Thread(
            target=lambda: answers.append(register(server, archives.url("stalls/echo.mar")))
        )
        asking.start()
        eventually(archives.is_stalling.is_set, "the download has begun")

        server.stop()

        asking.join(10)
        assert [answer.status_code for answer in answers] == [503]
    finally:
        server.close()
