"""What goes wrong around a server: each fault has a clear outcome, and the rest goes on."""

import json
import resource
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import RunningServer, build_archive, eventually, workers

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = RunningServer(tmp_path_factory.mktemp("faults"))
    server.add("echo", "echo", **workers(1))
    try:
        yield server.start()
        server.stop()
    finally:
        server.close()


def register(server, url, **more):
    query = "&".join(f"{name}={value}" for name, value in {"url": url, **more}.items())
    return server.manage("POST", f"/models?{query}")


def test_a_hangup_without_a_terminal_changes_nothing(running):
    pids = running.wait_ready("echo")

    running.send_signal(signal.SIGHUP)

    eventually(lambda: "SIGHUP" in running.log("ts_log.log"), "it was noticed")
    assert running.predict("echo", b"still here").ok
    assert running.ready_workers("echo") == pids


def test_an_archive_that_is_replaced_while_it_loads_is_the_old_or_the_new_one(running, tmp_path):
    """Never a mixture: what was read first is served until the model is registered again."""
    for number in ("1", "2"):
        store = tmp_path / number
        store.mkdir()
        build_archive(
            store, "marked", "slow_load", config={**workers(1), "load": 1.0, "mark": number}
        )
    shutil.copy(tmp_path / "1" / "marked.mar", running.store / "marked.mar")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(register, running, "marked.mar", initial_workers=1)
        eventually(lambda: "marked" in running.model_names(), "it is being loaded")
        (tmp_path / "2" / "marked.mar").replace(running.store / "marked.mar")
        assert first.result().status_code == 200

    assert running.predict("marked").text == "1"
    assert running.manage("DELETE", "/models/marked").ok
    again = register(running, "marked.mar", initial_workers=1)
    assert again.status_code == 200
    assert running.predict("marked").text == "2"
    assert running.manage("DELETE", "/models/marked").ok


def test_without_its_model_store_a_server_serves_what_it_has(running):
    away = running.folder / "moved"
    running.store.rename(away)
    try:
        answer = register(running, "echo.mar", model_name="second")

        assert answer.status_code == 404
        assert answer.json()["type"] == "ModelNotFoundException"
        assert str(running.folder) not in answer.text
        assert running.predict("echo", b"still here").ok
    finally:
        away.rename(running.store)
    assert register(running, "echo.mar", model_name="second").ok
    assert running.manage("DELETE", "/models/second").ok


def test_a_snapshot_that_does_not_fit_on_the_disk_is_a_line_in_the_log(server):
    """Files cannot grow beyond a limit, which stands for a disk that is full."""
    server.properties["config_snapshots"] = "true"
    server.properties["cors_allowed_headers"] = "x" * 20_000  # snapshots have all settings
    server.limits = {resource.RLIMIT_FSIZE: (20_000, 20_000)}
    server.add("echo", "echo", **workers(1))
    server.launch()
    server.wait_started()
    server.wait_ready("echo")

    assert register(server, "echo.mar", model_name="second").status_code == 200

    assert server.predict("echo", b"served").ok
    eventually(lambda: "No snapshot is written" in server.output(), "it is said")
    assert list((server.logs / "config").iterdir()) == []
    server.stop()


def test_a_key_file_that_cannot_be_written_ends_the_start(server):
    """A server whose keys nobody can know would be of no use."""
    server.properties["disable_token_authorization"] = "false"
    (server.folder / "key_file.json").mkdir()

    server.launch(models=None)

    assert server.wait_ended(30) == 1
    assert "key_file.json" in server.output()
    assert "Traceback" not in server.output()
    assert [path.name for path in server.folder.glob(".key_file_*")] == []


def test_a_new_key_that_cannot_be_written_is_an_error_and_the_old_one_stays_good(server):
    """The disk is full when somebody asks for a new key: files cannot grow any more."""
    server.properties |= {"disable_token_authorization": "false", "enable_model_api": "false"}
    server.add("echo", "echo", **workers(1))
    server.launch()
    server.wait_started()
    file = server.folder / "key_file.json"
    keys = {name: entry["key"] for name, entry in json.loads(file.read_text()).items()}
    eventually(lambda: ask(server, keys["inference"]).ok, "it serves")
    before = file.read_bytes()
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))

    answer = server.manage(
        "GET", "/token?type=inference", headers={"Authorization": f"Bearer {keys['API']}"}
    )

    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert answer.status_code == 503
    assert "stays good" in answer.json()["message"]
    assert str(server.folder) not in answer.text
    assert file.read_bytes() == before
    assert ask(server, keys["inference"]).ok
    assert list(server.folder.glob(".key_file_*")) == []
    server.stop()


def ask(server, key):
    return server.predict("echo", b"x", headers={"Authorization": f"Bearer {key}"})
