import json
import os
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tsl.model_store.archive import ArchiveCache
from tsl.model_store.manifest import Manifest
from tsl.model_store.packing import (
    DEFAULT_CREATED_ON,
    ArchiveFormat,
    creation_time,
    manifest_text,
    pack_model,
    replaced_file,
)
from tsl.model_store.packing_members import PackingOrder
from tsl.protocol.errors import ConfigError

OUTPUTS = {
    ArchiveFormat.DEFAULT: "m.mar",
    ArchiveFormat.ZIP_STORE: "m.mar",
    ArchiveFormat.TGZ: "m.tar.gz",
    ArchiveFormat.NO_ARCHIVE: "m",
}
every_format = pytest.mark.parametrize("archive_format", ArchiveFormat)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "extra" / "sub").mkdir(parents=True)
    for name in ("h.py", "w.pt", "m.py", "r.txt", "c.yaml", "extra/a", "extra/sub/b"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def order(source):
    def build(**changes):
        members = {
            "model_name": "m",
            "model_version": "2.0",
            "handler": f"{source}/h",
            "serialized_file": source / "w.pt",
            "model_file": source / "m.py",
            "extra_files": (f"{source}/extra",),
            "requirements_file": source / "r.txt",
            "config_file": source / "c.yaml",
        }
        return PackingOrder(**(members | changes))

    return build


def content(path):
    """All bytes of an archive or a folder."""
    if path.is_file():
        return path.read_bytes()
    return {
        str(each.relative_to(path)): (each.read_bytes(), each.stat().st_mode)
        for each in path.rglob("*")
        if each.is_file()
    }


@every_format
def test_what_is_packed_is_what_the_server_unpacks(order, tmp_path, tree, archive_format):
    packed = pack_model(order(), tmp_path / "out", archive_format)

    folder = ArchiveCache(tmp_path / "cache").open(packed.path)

    assert packed.path == tmp_path / "out" / OUTPUTS[archive_format]
    files = tree(folder.path)
    manifest = json.loads(files.pop("MAR-INF/MANIFEST.json"))
    assert files == {
        name: content.encode()
        for name, content in {
            **{name: name for name in ("h.py", "w.pt", "m.py", "r.txt", "c.yaml")},
            "a": "extra/a",
            "sub/b": "extra/sub/b",
        }.items()
    }
    assert manifest["model"] == {
        "modelName": "m",
        "serializedFile": "w.pt",
        "handler": "h",
        "modelFile": "m.py",
        "modelVersion": "2.0",
        "requirementsFile": "r.txt",
        "configFile": "c.yaml",
    }


@every_format
def test_the_same_input_gives_the_same_bytes(order, tmp_path, source, archive_format):
    first = pack_model(order(), tmp_path / "first", archive_format)
    for path in source.rglob("*"):
        os.utime(path, (1, time.time() - 1000))
    second = pack_model(order(), tmp_path / "second", archive_format)

    assert content(first.path) == content(second.path)
    assert first.size_bytes == second.size_bytes > 0


@every_format
def test_an_archive_that_is_there_stays_unless_forced(order, tmp_path, archive_format):
    first = pack_model(order(), tmp_path, archive_format)
    before = content(first.path)

    with pytest.raises(ConfigError, match="is there already; --force replaces it"):
        pack_model(order(model_version="3"), tmp_path, archive_format)

    assert content(first.path) == before
    pack_model(order(model_version="3"), tmp_path, archive_format, overwrite=True)
    assert content(first.path) != before


@every_format
def test_nothing_else_is_left_in_the_export_path(order, tmp_path, archive_format):
    out = tmp_path / "new" / "out"

    pack_model(order(), out, archive_format)
    pack_model(order(), out, archive_format, overwrite=True)

    assert [path.name for path in out.iterdir()] == [OUTPUTS[archive_format]]


@every_format
def test_a_failure_leaves_the_old_archive(order, tmp_path, archive_format):
    out = tmp_path / "out"
    before = content(pack_model(order(), out, archive_format).path)

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_model(order(), out, archive_format, overwrite=True, on_progress=fail)

    assert [path.name for path in out.iterdir()] == [OUTPUTS[archive_format]]
    assert content(out / OUTPUTS[archive_format]) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_name": "a b"}, "--model-name: 'a b' is not allowed"),
        ({"model_name": "-a"}, "--model-name"),
        ({"model_name": "a/b"}, "--model-name"),
        ({"model_name": "a\n"}, "--model-name"),
        ({"model_name": ""}, "--model-name"),
        ({"model_version": "1/2"}, "--version must not contain a slash"),
        ({"runtime": "java"}, "--runtime: 'java' is none of python, python3, LSP"),
        ({"handler": "folder/"}, "--handler: 'folder/' is no file"),
        ({"serialized_file": Path("none.pt")}, "--serialized-file: there is no file none.pt"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(order, tmp_path, changes, message):
    with pytest.raises(ConfigError) as caught:
        pack_model(order(**changes), tmp_path / "out")

    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_all_mistakes_are_reported_at_once(order, tmp_path):
    with pytest.raises(ConfigError) as caught:
        pack_model(order(model_name="?", runtime="java", handler="none"), tmp_path)

    assert len(caught.value.problems) == 3


def test_an_empty_version_is_left_to_the_server(order, tmp_path):
    packed = pack_model(order(model_version=""), tmp_path)

    manifest = json.loads(zipfile.ZipFile(packed.path).read("MAR-INF/MANIFEST.json"))
    assert "modelVersion" not in manifest["model"]


def test_the_export_path_must_not_be_a_file(order, tmp_path, source):
    with pytest.raises(ConfigError, match="is not a folder"):
        pack_model(order(), source / "h.py")


def test_an_archive_does_not_replace_a_folder(order, tmp_path):
    (tmp_path / "m.mar").mkdir()

    with pytest.raises(ConfigError, match="is a folder; an archive cannot replace it"):
        pack_model(order(), tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["file", "folder"])
def test_no_folder_is_replaced_but_that_of_a_model(order, tmp_path, name):
    other = tmp_path / "m" if name == "file" else tmp_path / "m" / "precious"
    other.parent.mkdir(exist_ok=True)
    other.write_text("precious")

    with pytest.raises(ConfigError, match="is not the folder of a packed model"):
        pack_model(order(), tmp_path, ArchiveFormat.NO_ARCHIVE, overwrite=True)

    assert other.read_text() == "precious"


def test_a_folder_is_not_replaced_by_what_comes_out_of_it(order, tmp_path):
    packed = pack_model(order(), tmp_path, ArchiveFormat.NO_ARCHIVE)

    with pytest.raises(ConfigError, match="which would be replaced; export to another folder"):
        pack_model(
            order(handler=str(packed.path / "h.py")),
            tmp_path,
            ArchiveFormat.NO_ARCHIVE,
            overwrite=True,
        )


@pytest.mark.parametrize("method", ["open", "iterdir"], ids=["file", "folder"])
def test_what_cannot_be_read_is_reported(order, tmp_path, monkeypatch, method):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, method, refuse)

    with pytest.raises(ConfigError, match=r"cannot be read or written: Permission denied"):
        pack_model(order(), tmp_path)


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    order, tmp_path, monkeypatch
):
    packed = pack_model(order(), tmp_path / "out", ArchiveFormat.NO_ARCHIVE)
    before = content(packed.path)
    rename = Path.rename

    def refuse(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ConfigError, match="Input/output error"):
        pack_model(order(), tmp_path / "out", ArchiveFormat.NO_ARCHIVE, overwrite=True)

    assert [path.name for path in packed.path.parent.iterdir()] == ["m"]
    assert content(packed.path) == before


def test_warnings_are_handed_on(order, tmp_path):
    packed = pack_model(order(extra_files=("no*such",)), tmp_path)

    assert packed.warnings == ("--extra-files: nothing matches 'no*such'.",)


def test_the_manifest_can_be_read_back():
    text = manifest_text({"modelName": "m", "handler": "h.py"}, "python3")

    document = json.loads(text)
    assert list(document) == ["createdOn", "runtime", "model", "archiverVersion"]
    assert document["createdOn"] == "01/01/1980 00:00:00"
    assert document["archiverVersion"]
    assert Manifest.parse(text).runtime == "python3"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, DEFAULT_CREATED_ON),
        ({"SOURCE_DATE_EPOCH": ""}, DEFAULT_CREATED_ON),
        ({"SOURCE_DATE_EPOCH": "1700000000"}, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ({"SOURCE_DATE_EPOCH": "0"}, DEFAULT_CREATED_ON),
        ({"SOURCE_DATE_EPOCH": "99999999999"}, datetime(2107, 12, 31, tzinfo=UTC)),
    ],
    ids=["none", "empty", "some day", "before zip", "after zip"],
)
def test_the_time_of_an_archive_comes_from_the_environment(environ, expected):
    assert creation_time(environ) == expected


@pytest.mark.parametrize("text", ["yesterday", "1e9", "9" * 30])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH must be a number"):
        creation_time({"SOURCE_DATE_EPOCH": text})


def test_the_time_is_in_the_manifest_and_the_entries(order, tmp_path):
    packed = pack_model(
        order(), tmp_path, created_on=creation_time({"SOURCE_DATE_EPOCH": "1700000000"})
    )

    with zipfile.ZipFile(packed.path) as archive:
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        assert manifest["createdOn"] == "14/11/2023 22:13:20"
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}


def test_a_replaced_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "file"

    with replaced_file(target) as file:
        file.write(b"whole")
        assert not target.exists()

    assert target.read_bytes() == b"whole"
    assert target.stat().st_mode & 0o777 == 0o644
