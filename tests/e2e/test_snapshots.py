"""A server that is started again goes on with what it served."""

import shutil
import signal
import subprocess

import javaproperties
import pytest
from serving import eventually, workers

pytestmark = pytest.mark.e2e


def snapshots(server, kind="*"):
    return sorted((server.logs / "config").glob(f"*-{kind}.cfg"))


def crash(server):
    """End a server without giving it a chance to say good-bye."""
    server.send_signal(signal.SIGKILL)
    server.wait_ended()
    eventually(lambda: not server.members(), "its processes are gone")
    for left in server.temp.glob("tsl-*"):
        shutil.rmtree(left)


def restart(server):
    """Start with nothing but the folder."""
    server.config_file = None
    server.console.unlink()
    server.launch(models=None).wait_started()
    return server


def state(server):
    """What matters of all versions of the models, by name and version."""
    fields = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout")
    found = {}
    for name in server.model_names():
        default = server.describe(name)["modelVersion"]
        for one in server.manage("GET", f"/models/{name}/all").json():
            key = (name, one["modelVersion"], one["modelVersion"] == default)
            found[key] = [one[field] for field in fields]
    return found


def test_everything_comes_back_after_a_crash_and_after_a_stop(server):
    server.add("echo", "echo", **workers(1))
    server.add("two", "echo")
    server.add("two", "echo", version="2.0", **workers(2, batchSize=3))
    server.start(models="echo.mar")
    assert len(snapshots(server, "startup")) == 1
    for method, path in (
        ("POST", "/models?url=two.mar&initial_workers=0&batch_size=7&max_batch_delay=9"),
        ("POST", "/models?url=two-2.0.mar&response_timeout=33"),
        ("PUT", "/models/two/2.0/set-default"),
        ("PUT", "/models/echo?min_worker=2&max_worker=3&synchronous=true"),
    ):
        answer = server.manage(method, path)
        assert answer.status_code == 200, answer.text
    expected = {
        ("echo", "1.0", True): [2, 3, 1, 100, 120],
        ("two", "1.0", False): [0, 0, 7, 9, 120],
        ("two", "2.0", True): [2, 2, 3, 100, 33],
    }
    assert state(server) == expected
    assert len(snapshots(server, "snapshot")) == 4

    crash(server)
    restart(server)

    assert state(server) == expected
    assert "Settings and models are those of the snapshot" in server.log("ts_log.log")
    server.wait_ready("two")
    assert server.predict("two", b"hi").content == b"hi"

    server.stop()
    assert snapshots(server)[-1].name.endswith("-shutdown.cfg")
    restart(server)

    assert state(server) == expected
    server.stop()


def test_a_damaged_snapshot_is_reported_and_the_one_before_it_restored(server):
    server.add("echo", "echo", **workers(1))
    server.start(models="echo.mar")
    server.stop()
    whole = snapshots(server)[-1].read_text()
    damaged = server.logs / "config" / "29990101000000000-snapshot.cfg"
    damaged.write_text(whole[: len(whole) // 2])

    restart(server)

    assert server.wait_ready("echo")
    assert f"The snapshot {damaged} cannot be used" in server.log("ts_log.log")
    server.stop()
    # What is written next is newer than the damaged one.
    assert "echo.mar" in snapshots(server)[-1].read_text()
    assert snapshots(server)[-1] > damaged


def test_a_snapshot_whose_archives_are_gone_ends_the_start_with_an_advice(server):
    document = '{"models": {"gone": {"1.0": {"marName": "gone.mar"}}}}'
    server.properties["model_snapshot"] = document
    server.add("echo", "echo")

    result = subprocess.run(
        server.command("--foreground"),
        cwd=server.folder,
        env=server.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert result.returncode == 1
    assert "gone.mar for model gone, version 1.0, is not in the model store" in result.stderr
    assert "--ncs" in result.stderr
    assert snapshots(server) == []


def test_without_snapshots_none_is_written_or_restored(server):
    server.add("echo", "echo", **workers(1))
    server.properties["config_snapshots"] = "false"
    server.start(models="echo.mar")
    server.stop()
    assert snapshots(server) == []

    folder = server.logs / "config"
    folder.mkdir()
    text = {"model_snapshot": '{"models": {}}', "model_store": str(server.store)}
    (folder / "20260101000000000-startup.cfg").write_text(javaproperties.dumps(text))
    server.console.unlink()
    server.start(models="echo.mar")  # asked for its file, it does not look for snapshots

    assert server.model_names() == ["echo"]
    server.stop()
