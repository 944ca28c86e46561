"""The steps of packing, with the results that the original gives."""

import json
import logging
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tsl.model_store.archiver import ModelArchiverConfig, ModelExportUtils, package_model
from tsl.model_store.archiver.export import archiving_options, model_handlers
from tsl.protocol.errors import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"x/a.py": "a", "x/sub/b.txt": "b", "x/__pycache__/a.pyc": "c"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "out").mkdir()
    return tmp_path


def test_the_tables_of_the_original():
    assert archiving_options == {
        "tgz": ".tar.gz",
        "no-archive": "",
        "zip-store": ".mar",
        "default": ".mar",
    }
    assert model_handlers == {
        "base_handler": "anything",
        "text_classifier": "text",
        "image_classifier": "vision",
        "object_detector": "vision",
        "image_segmenter": "vision",
        "dali_image_classifier": "vision",
        "vllm_handler": "text",
        "trt_llm_handler": "text",
    }


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("default", "out/m.mar"),
        ("zip-store", "out/m.mar"),
        ("tgz", "out/m.tar.gz"),
        ("no-archive", "out/m"),
    ],
)
def test_where_an_archive_goes(kind, path):
    assert ModelExportUtils.get_archive_export_path("out", "m", kind) == path


def test_an_archive_that_is_there_needs_force(folder, caplog):
    check = ModelExportUtils.check_mar_already_exists
    (folder / "out" / "m.mar").touch()

    assert check("n", None, False) == str(folder)
    assert check("m", "out", False, "tgz") == "out"
    with pytest.raises(ConfigError, match=r"out/m\.mar is there already; --force"):
        check("m", "out", False)
    with caplog.at_level(logging.WARNING):
        assert check("m", "out", True) == "out"
    assert "out/m.mar is replaced" in caplog.text


def test_the_one_file_of_a_kind_is_found():
    find = ModelExportUtils.find_unique

    assert find(["a.py"], ".onnx") is None
    assert find(["x/a.onnx", "b"], ".onnx") == "x/a.onnx"
    with pytest.raises(ConfigError, match=r"one \.onnx file only, not 2"):
        find(["a.onnx", "b.onnx"], ".onnx")


def test_a_manifest_names_files_without_their_folders():
    config = ModelArchiverConfig("m", "x/h:fn", "1", serialized_file="y/w.pt")

    document = json.loads(ModelExportUtils.generate_manifest_json(config))

    assert document["model"] == {
        "modelName": "m",
        "serializedFile": "w.pt",
        "handler": "h:fn",
        "modelVersion": "1",
    }


@pytest.mark.parametrize("kind", ["default", "zip-store", "tgz", "no-archive"])
def test_files_are_gathered_and_packed(folder, kind):
    gathered = ModelExportUtils.copy_artifacts("m", "python", handler="x/a.py", extra_files="x")
    ModelExportUtils.archive("out", "m", gathered, '{"a": 1}', kind)

    files = {"a.py": b"a", "sub/b.txt": b"b", "MAR-INF/MANIFEST.json": b'{"a": 1}'}
    output = folder / ModelExportUtils.get_archive_export_path("out", "m", kind)
    if kind == "tgz":
        with tarfile.open(output) as archive:
            found = {
                member.name.removeprefix("m/"): archive.extractfile(member).read()
                for member in archive
                if member.isfile()
            }
    elif kind == "no-archive":
        found = {
            path.relative_to(output).as_posix(): path.read_bytes()
            for path in output.rglob("*")
            if path.is_file()
        }
    else:
        with zipfile.ZipFile(output) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
    assert found == files
    shutil.rmtree(Path(gathered).parent)


def test_missing_files_are_all_named(folder):
    with pytest.raises(ConfigError) as caught:
        ModelExportUtils.copy_artifacts("m", "python", handler="gone.py", model_file="lost.py")

    assert "gone.py" in str(caught.value)
    assert "lost.py" in str(caught.value)


def test_a_folder_is_added_to_an_open_archive(folder):
    with zipfile.ZipFile("z.zip", "w") as archive:
        ModelExportUtils.archive_dir("x", archive, "default", "m")
        assert archive.namelist() == ["a.py", "sub/b.txt"]
    with tarfile.open("z.tar.gz", "w:gz") as archive:
        ModelExportUtils.archive_dir("x", archive, "tgz", "m")
        assert archive.getnames() == ["m/a.py", "m/sub/b.txt"]
    ModelExportUtils.archive_dir("x", "z", "no-archive", "m")
    assert (folder / "z" / "sub" / "b.txt").read_text() == "b"


def test_what_is_left_out():
    unwanted = ["__MACOSX", "__pycache__"]
    seen = set()

    assert [
        ModelExportUtils.directory_filter(each, unwanted) for each in ("__MACOSX", ".g", "a")
    ] == [
        False,
        False,
        True,
    ]
    assert [ModelExportUtils.file_filter(each, seen) for each in ("a", "b", "a")] == [
        True,
        True,
        False,
    ]


def test_names_and_export_paths_are_checked(folder):
    ModelExportUtils.validate_inputs("m", "new/folder")
    assert (folder / "new" / "folder").is_dir()

    with pytest.raises(ConfigError, match="'a b' does not match"):
        ModelExportUtils.validate_inputs("a b", "out")
    with pytest.raises(ConfigError, match="cannot be the folder"):
        ModelExportUtils.validate_inputs("m", "x/a.py")


def test_folders_are_made_and_files_removed(folder):
    ModelExportUtils.make_dir("a/b")
    ModelExportUtils.make_dir("a/b")
    ModelExportUtils.clean_temp_files(["x/a.py"])

    assert (folder / "a" / "b").is_dir()
    assert not (folder / "x" / "a.py").exists()


def test_a_model_is_packed_with_a_manifest_of_the_caller_s(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "out"))
    config = ModelArchiverConfig("m", "x/a.py", "1", export_path="out")

    package_model(config, '{"mine": true}')

    with zipfile.ZipFile("out/m.mar") as archive:
        assert archive.read("MAR-INF/MANIFEST.json") == b'{"mine": true}'
    assert [path.name for path in (folder / "out").iterdir()] == ["m.mar"]
    with pytest.raises(ConfigError, match="there already"):
        package_model(config, "{}")


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigError, match="archive_format must be one of"):
        ModelExportUtils.get_archive_export_path("out", "m", "rar")
