import json
import shlex
import zipfile
from pathlib import Path

import pytest
import yaml

import tsl.cli.demo
from tsl.cli.demo import build, build_demo
from tsl.protocol.errors import ConfigError

CLASSES = Path(tsl.cli.demo.__file__).with_name("imagenet_classes.json")


@pytest.fixture
def small_sources(tmp_path, monkeypatch):
    """Stand-ins for the files of the demo packages."""
    folder = tmp_path / "installed"
    folder.mkdir()
    paths = [folder / name for name in ("lite0-1.pth", "checkpoint20.npz", "chelsea.png")]
    for path in paths:
        path.write_bytes(path.name.encode())
    monkeypatch.setattr(build, "locate", lambda *files: paths)
    return paths


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "demo"


def ignore(line):
    del line


def test_the_store_has_two_archives_and_a_picture(small_sources, target):
    demo = build_demo(target, ignore)

    assert sorted(path.name for path in demo.model_store.iterdir()) == ["g2p.mar", "imagenet.mar"]
    assert demo.models == "imagenet=imagenet.mar,g2p=g2p.mar"
    assert demo.image.name == "cat.png"
    assert demo.image.read_bytes() == b"chelsea.png"


@pytest.mark.parametrize("name", ["imagenet", "g2p"])
def test_all_files_that_a_manifest_names_are_in_the_archive(small_sources, target, name):
    demo = build_demo(target, ignore)

    with zipfile.ZipFile(demo.model_store / f"{name}.mar") as archive:
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        named = {model[key] for key in ("handler", "modelFile", "serializedFile", "configFile")}
        assert model["modelName"] == name
        assert named <= set(archive.namelist())
        assert not [each for each in archive.namelist() if each.endswith(".pyc")]


@pytest.mark.parametrize("name", ["imagenet", "g2p"])
def test_the_configuration_lets_batches_form_and_workers_be_added(small_sources, target, name):
    demo = build_demo(target, ignore)

    with zipfile.ZipFile(demo.model_store / f"{name}.mar") as archive:
        config = yaml.safe_load(archive.read("model-config.yaml"))
    assert config["batchSize"] > 1
    assert 1 == config["minWorkers"] < config["maxWorkers"]


def test_a_second_build_reuses_the_first(small_sources, target):
    lines = []
    demo = build_demo(target, lines.append)
    before = {path: path.stat().st_mtime_ns for path in [*demo.model_store.iterdir(), demo.image]}

    again = build_demo(target, lines.append)

    assert again == demo
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [line.split()[0] for line in lines] == ["Built", "Built", "Found", "Found"]


def test_new_weights_rebuild_their_archive_only(small_sources, target):
    build_demo(target, ignore)
    small_sources[1].write_bytes(b"newer")
    lines = []

    build_demo(target, lines.append)

    assert [line.split()[0] for line in lines] == ["Found", "Built"]


def test_a_spoiled_picture_is_written_again(small_sources, target):
    build_demo(target, ignore).image.write_bytes(b"dog")

    assert build_demo(target, ignore).image.read_bytes() == b"chelsea.png"


def test_a_missing_package_leaves_nothing_behind(monkeypatch, target):
    def fail(*files):
        raise ConfigError("missing")

    monkeypatch.setattr(build, "locate", fail)

    with pytest.raises(ConfigError, match="missing"):
        build_demo(target, ignore)

    assert not target.exists()


def test_the_commands_can_be_filled_in_and_split_by_a_shell(small_sources, tmp_path):
    demo = build_demo(tmp_path / "a folder {of} mine", ignore)

    commands = [shlex.split(line.format(inference="http://h:1")) for line in demo.curl_lines]

    assert all(command[0] == "curl" for command in commands)
    assert commands[0][1:] == ["http://h:1/predictions/imagenet", "-T", str(demo.image)]
    assert any("-N" in command for command in commands)
    assert any("http://h:1/explanations/imagenet" in command for command in commands)


def test_there_are_1000_different_class_names():
    names = json.loads(CLASSES.read_text(encoding="utf-8"))

    assert len(names) == 1000
    assert len({name.lower() for name in names}) == 1000
    assert (names[0], names[999]) == ("tench", "toilet tissue")
    assert [names[i] for i in (281, 282, 285)] == ["tabby", "tiger cat", "Egyptian cat"]
