"""What is written into a snapshot, and when."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import javaproperties
import pytest

from tsl.frontend.config import ConfigNotes, ServerConfig
from tsl.frontend.config_source import find_config
from tsl.frontend.registry import ModelRegistry, ServedModel
from tsl.frontend.snapshots import SnapshotRecorder
from tsl.model_store import Manifest, ModelConfig, ModelVersion, SnapshotEntry, SnapshotKind
from tsl.model_store.download import Download


def served(name, version="1.0", *, workers=(1, 2), url=None, **more):
    manifest = Manifest(handler="h.py")
    fields = {"handler": "h.py", "download": None, **more}
    model = ModelVersion(
        name=name,
        version=version,
        runtime="python",
        model_dir=Path("/model"),
        url=url or f"{name}.mar",
        manifest=manifest,
        config=ModelConfig(batch_size=4, max_batch_delay_ms=5, response_timeout_s=6),
        loaded_at_startup=False,
        folder=None,
        **fields,
    )
    pool = SimpleNamespace(min_workers=workers[0], max_workers=workers[1])
    return ServedModel(model, pool, 0.0)


@pytest.fixture
def registry():
    return ModelRegistry()


def config_of(tmp_path, text="", **notes):
    logs = f"log_location={tmp_path}/logs\n"
    return ServerConfig.load(logs + text, {}, {}, notes=ConfigNotes(**notes))


@pytest.fixture
def recorder(world, tmp_path, registry):
    return SnapshotRecorder(config_of(tmp_path), registry)


def files(tmp_path):
    return sorted((tmp_path / "logs" / "config").glob("*"))


def models_of(file):
    properties = javaproperties.loads(file.read_text())
    return json.loads(properties["model_snapshot"])["models"]


def test_nodes_of_workflows_are_left_out(world, recorder, registry, tmp_path):
    registry.add(served("a"))
    registry.add(served("w__a", workflow="w"))
    registry.add(served("w__f", workflow="w", is_function=True))

    world.run(recorder.record(SnapshotKind.STARTUP))

    assert list(models_of(*files(tmp_path))) == ["a"]


def test_a_snapshot_has_what_is_in_force(world, recorder, registry, tmp_path):
    registry.add(served("a", "1.0"))
    registry.add(served("a", "2.0", workers=(0, 0)))
    registry.set_default("a", "2.0")

    world.run(recorder.record(SnapshotKind.STARTUP))

    (file,) = files(tmp_path)
    assert file.name.endswith("-startup.cfg")
    assert models_of(file) == {
        "a": {
            "1.0": {
                "defaultVersion": False,
                "marName": "a.mar",
                "minWorkers": 1,
                "maxWorkers": 2,
                "batchSize": 4,
                "maxBatchDelay": 5,
                "responseTimeout": 6,
                "startupTimeout": 120,
                "runtimeType": "python",
            },
            "2.0": {
                "defaultVersion": True,
                "marName": "a.mar",
                "minWorkers": 0,
                "maxWorkers": 0,
                "batchSize": 4,
                "maxBatchDelay": 5,
                "responseTimeout": 6,
                "startupTimeout": 120,
                "runtimeType": "python",
            },
        }
    }


def test_what_the_archive_does_not_say_is_written_too(recorder, registry, tmp_path):
    url = "https://example.com/b.mar"
    download = Download(path=tmp_path / "b.mar", is_new=True, is_copy=True)
    registry.add(served("a", handler="other.py:f"))
    registry.add(served("b", url=url, download=download))
    registry.add(served("c", url="/srv/models/c"))

    a, b, c = recorder.snapshot().entries

    assert (a.handler, a.url, a.location) == ("other.py:f", None, "a.mar")
    assert (b.handler, b.url, b.archive) == (None, url, "b.mar")
    assert (c.url, c.archive) == ("/srv/models/c", "c")


def test_what_could_not_be_restored_stays_until_it_is_served(recorder, registry):
    lost = SnapshotEntry(name="lost", version="1.0", archive="lost.mar")
    recorder.keep([lost])
    assert recorder.snapshot().entries == (lost,)

    registry.add(served("lost"))

    assert [entry.settings["batch_size"] for entry in recorder.snapshot().entries] == [4]


def test_changes_at_the_same_time_share_a_file_that_has_them_all(
    world, recorder, registry, tmp_path, monkeypatch
):
    def slowly(executor, function, *args):
        future = world.loop.create_future()
        world.loop.call_later(1, lambda: future.set_result(function(*args)))
        return future

    monkeypatch.setattr(world.loop, "run_in_executor", slowly)

    async def burst():
        tasks = []
        for name in "abcde":
            registry.add(served(name))
            tasks.append(world.task(recorder.changed()))
        for task in tasks:
            await task

    world.run(burst())

    written = files(tmp_path)
    assert len(written) == 2
    assert list(models_of(written[-1])) == list("abcde")


def test_a_failed_registration_is_taken_out_of_the_snapshots(world, recorder, registry, tmp_path):
    on_trial = served("a")
    registry.add(on_trial)
    world.run(recorder.changed())
    registry.discard(on_trial)

    world.run(recorder.undone())

    assert [list(models_of(file)) for file in files(tmp_path)] == [["a"], []]


def test_a_failed_registration_that_nobody_wrote_down_costs_no_file(
    world, recorder, registry, tmp_path
):
    world.run(recorder.undone())
    world.run(recorder.changed())

    world.run(recorder.undone())

    assert len(files(tmp_path)) == 1


def test_a_snapshot_that_cannot_be_written_is_a_line_in_the_log(
    world, recorder, registry, tmp_path, caplog
):
    (tmp_path / "logs").write_text("a file where the folder should be")

    world.run(recorder.changed())

    assert "No snapshot is written to" in caplog.text


def test_old_snapshots_are_removed(world, registry, tmp_path):
    recorder = SnapshotRecorder(config_of(tmp_path, "max_snapshots=3"), registry)

    for _ in range(5):
        world.run(recorder.changed())

    assert len(files(tmp_path)) == 3


def test_settings_come_back_but_secrets_are_not_written(world, registry, tmp_path):
    own = tmp_path / "own.properties"
    own.write_text("keystore_pass=geheim\njob_queue_size=7\nvmargs=-Xmx1g\n")
    config = config_of(tmp_path, own.read_text(), file=own)
    registry.add(served("a"))
    world.run(SnapshotRecorder(config, registry).record(SnapshotKind.STARTUP))

    (file,) = files(tmp_path)
    found = find_config({}, file, tmp_path)
    again = ServerConfig.load(found.text, {}, {}, notes=found.notes)

    assert "geheim" not in file.read_text()
    assert again.keystore_pass == "geheim"
    assert again.job_queue_size == 7
    assert again.log_location == tmp_path / "logs"
    assert again.file == own
    assert again.warnings == ()
    assert again.model_snapshot == SnapshotRecorder(config, registry).snapshot()
