import gzip
import io
import tarfile
import zipfile
from datetime import UTC, datetime

import pytest

from tsl.model_store.packing_writers import write_folder, write_tar_gz, write_zip
from tsl.protocol.errors import ConfigError

NOON = datetime(2024, 2, 29, 12, 0, 2, tzinfo=UTC)


def zip_bytes(members, *, is_compressed=True, on_progress=None):
    file = io.BytesIO()
    write_zip(file, members, NOON, is_compressed=is_compressed, on_progress=on_progress)
    return file.getvalue()


def tar_bytes(members, on_progress=None):
    file = io.BytesIO()
    write_tar_gz(file, "top", members, NOON, on_progress=on_progress)
    return file.getvalue()


@pytest.fixture
def members(tmp_path):
    script = tmp_path / "script.sh"
    script.write_bytes(b"#!/bin/sh\n")
    script.chmod(0o4777)
    data = tmp_path / "data"
    data.write_bytes(b"\0" * 3_000_000)
    data.chmod(0o600)
    return {"manifest": b"{}", "bin/script.sh": script, "data": data, "ünicode": b""}


@pytest.mark.parametrize("is_compressed", [True, False], ids=["deflated", "stored"])
def test_a_zip_file_has_the_contents_in_order(members, is_compressed):
    data = zip_bytes(members, is_compressed=is_compressed)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == list(members)
        assert archive.read("data") == b"\0" * 3_000_000
        assert archive.read("manifest") == b"{}"
    assert (len(data) < 100_000) is is_compressed


def test_a_zip_file_depends_on_contents_alone(members):
    with zipfile.ZipFile(io.BytesIO(zip_bytes(members))) as archive:
        infos = archive.infolist()

    assert {info.date_time for info in infos} == {(2024, 2, 29, 12, 0, 2)}
    assert {info.create_system for info in infos} == {3}
    modes = [info.external_attr >> 16 for info in infos]
    assert modes == [0o100644, 0o100755, 0o100644, 0o100644]


def test_a_large_member_makes_a_zip64_entry(tmp_path, monkeypatch):
    """The limit is lowered: nobody writes four gigabytes in a unit test."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    large = tmp_path / "large"
    large.write_bytes(b"x" * 2000)

    data = zip_bytes({"large": large}, is_compressed=False)

    assert zipfile.ZipFile(io.BytesIO(data)).getinfo("large").extract_version == 45


def test_a_tar_file_has_one_top_folder(members):
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(members)), mode="r:gz") as archive:
        assert archive.getnames() == [f"top/{name}" for name in members]
        assert archive.extractfile("top/data").read() == b"\0" * 3_000_000


def test_a_tar_file_depends_on_contents_alone(members):
    data = tar_bytes(members)

    with gzip.open(io.BytesIO(data)) as stream:
        stream.read(1)
        assert stream.mtime == 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        infos = archive.getmembers()
    assert {(info.uid, info.gid, info.uname, info.gname) for info in infos} == {(0, 0, "", "")}
    assert {info.mtime for info in infos} == {NOON.timestamp()}
    assert [info.mode for info in infos] == [0o644, 0o755, 0o644, 0o644]


def test_a_folder_has_the_contents(members, tmp_path):
    target = tmp_path / "target"
    target.mkdir()

    write_folder(target, members)

    assert (target / "data").stat().st_size == 3_000_000
    assert (target / "manifest").read_bytes() == b"{}"
    assert (target / "bin" / "script.sh").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("write", [zip_bytes, tar_bytes])
def test_progress_counts_the_bytes_that_are_read(members, write):
    seen = []

    write(members, on_progress=lambda done, total: seen.append((done, total)))

    total = 3_000_012
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("write", [zip_bytes, tar_bytes])
@pytest.mark.parametrize("content", [b"longer than before", b"s"], ids=["grown", "shrunk"])
def test_a_file_that_changes_while_it_is_packed_is_refused(tmp_path, write, content):
    """The file is changed after the one before it was read, and before its own end is."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.write_bytes(b"before " * 300_000)

    def change(done, total):
        if 1 < done < total:
            second.write_bytes(content if len(content) < 10 else b"before " * 400_000)

    with pytest.raises(ConfigError, match=r"'second' was changed while it was packed"):
        write({"first": first, "second": second}, on_progress=change)
