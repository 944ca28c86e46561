import zipfile

import pytest

from tsl.cli.demo.packing import pack_model

MANIFEST = "MAR-INF/MANIFEST.json"
MODEL = {"modelName": "m", "handler": "h.py"}


def test_members_may_come_from_files(tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")

    pack_model(tmp_path / "m.mar", MODEL, {"w.pth": weights})

    assert zipfile.ZipFile(tmp_path / "m.mar").read("w.pth") == b"weights"


def test_an_archive_that_is_up_to_date_is_left_alone(tmp_path):
    archive = tmp_path / "m.mar"
    assert pack_model(archive, MODEL, {"a": b"1", "b": b"2"}) is True
    written_at = archive.stat().st_mtime_ns

    assert pack_model(archive, MODEL, {"b": b"2", "a": b"1"}) is False

    assert archive.stat().st_mtime_ns == written_at


@pytest.mark.parametrize(
    ("model", "members"),
    [
        (MODEL, {"a": b"2"}),
        (MODEL, {"b": b"1"}),
        (MODEL, {"a": b"1", "b": b""}),
        ({**MODEL, "modelVersion": "2"}, {"a": b"1"}),
    ],
    ids=["other content", "other name", "one more", "other manifest"],
)
def test_changed_contents_are_packed_again(tmp_path, model, members):
    archive = tmp_path / "m.mar"
    pack_model(archive, MODEL, {"a": b"1"})

    assert pack_model(archive, model, members) is True

    with zipfile.ZipFile(archive) as file:
        assert {name: file.read(name) for name in members} == members
        assert set(file.namelist()) == {MANIFEST, *members}


def test_half_an_archive_is_packed_again(tmp_path):
    archive = tmp_path / "m.mar"
    pack_model(archive, MODEL, {"a": b"1" * 1000})
    archive.write_bytes(archive.read_bytes()[:500])

    assert pack_model(archive, MODEL, {"a": b"1" * 1000}) is True

    assert zipfile.ZipFile(archive).testzip() is None


def test_a_packed_model_begins_with_its_manifest(tmp_path):
    pack_model(tmp_path / "m.mar", MODEL, {"a.py": b""})

    assert zipfile.ZipFile(tmp_path / "m.mar").namelist() == [MANIFEST, "a.py"]
