import io
import stat
import struct
import zipfile

import pytest

from tsl.model_store.unpacking import ExtractionLimits
from tsl.model_store.zip_archive import unpack_zip
from tsl.protocol.errors import InvalidArchive

LIMITS = ExtractionLimits(
    max_total_bytes=1_000_000, max_entries=20, max_ratio=10, ratio_floor_bytes=10_000
)


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def archive_of(*entries, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file


def special(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def test_files_come_out_as_they_went_in(target, tree):
    unpack_zip(archive_of(("a/b.txt", b"one"), ("c/", b""), ("d", b"")), target, LIMITS)

    assert tree(target) == {"a/b.txt": b"one", "d": b""}
    assert (target / "c").is_dir()


def test_the_executable_bit_is_kept_and_nothing_else(target):
    unpack_zip(
        archive_of((special("run", stat.S_IFREG | 0o6777), b"x"), ("data", b"x")), target, LIMITS
    )

    assert (target / "run").stat().st_mode & 0o7777 == 0o755
    assert (target / "data").stat().st_mode & 0o7777 == 0o644


def test_progress_ends_at_the_total(target):
    seen = []

    unpack_zip(
        archive_of(("a", b"123"), ("b", b"45")), target, LIMITS, lambda *now: seen.append(now)
    )

    assert seen == [(3, 5), (5, 5)]


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/abs", "C:\\x", "a\\..\\b", "x/.."])
def test_nothing_is_written_when_one_name_is_bad(target, name):
    with pytest.raises(InvalidArchive):
        unpack_zip(archive_of(("good", b"x"), (name, b"x")), target, LIMITS)

    assert list(target.iterdir()) == []


def test_a_nul_in_a_name_is_refused(target):
    data = archive_of(("aXb", b"x")).getvalue().replace(b"aXb", b"a\0b")

    with pytest.raises(InvalidArchive, match="not allowed"):
        unpack_zip(io.BytesIO(data), target, LIMITS)


def test_an_empty_name_is_refused(target):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open(zipfile.ZipInfo(""), "w") as entry:
        entry.write(b"x")

    with pytest.raises(InvalidArchive, match="not allowed"):
        unpack_zip(file, target, LIMITS)


@pytest.mark.parametrize(
    "kind",
    [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK],
    ids=["symlink", "fifo", "character device", "block device", "socket"],
)
def test_only_files_and_folders_are_unpacked(target, kind):
    with pytest.raises(InvalidArchive, match="neither file nor folder"):
        unpack_zip(archive_of((special("x", kind | 0o777), b"/etc/passwd")), target, LIMITS)

    assert list(target.iterdir()) == []


def test_an_encrypted_entry_is_refused(target):
    data = bytearray(archive_of(("a", b"x")).getvalue())
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, central + 8, 1)

    with pytest.raises(InvalidArchive, match="encrypted"):
        unpack_zip(io.BytesIO(bytes(data)), target, LIMITS)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_other_compressions_are_refused(target, method):
    with pytest.raises(InvalidArchive, match="deflate"):
        unpack_zip(archive_of(("a", b"x" * 100), compression=method), target, LIMITS)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([("a", b"x"), ("a/b", b"x")], id="file, then folder"),
        pytest.param([("a/b", b"x"), ("a", b"x")], id="folder, then file"),
        pytest.param([("a/", b""), ("a", b"x")], id="folder entry, then file"),
    ],
)
def test_conflicting_paths_are_refused(target, entries):
    with pytest.raises(InvalidArchive, match="file"):
        unpack_zip(archive_of(*entries), target, LIMITS)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        pytest.param([("a", b"\0" * 20_000)], "times its size", id="ratio"),
        pytest.param([(str(n), b"") for n in range(21)], "more than 20 files", id="entries"),
    ],
)
def test_bombs_are_refused(target, entries, words):
    with pytest.raises(InvalidArchive, match=words):
        unpack_zip(archive_of(*entries), target, LIMITS)


def test_too_much_is_refused_before_anything_is_written(target):
    with pytest.raises(InvalidArchive, match="more than 5 bytes"):
        unpack_zip(archive_of(("a", b"123456")), target, ExtractionLimits(max_total_bytes=5))

    assert list(target.iterdir()) == []


def test_small_files_may_compress_as_they_like(target):
    unpack_zip(archive_of(("a", b"\0" * 10_000)), target, LIMITS)

    assert (target / "a").stat().st_size == 10_000


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty file"),
        pytest.param(b"this is no archive", id="text"),
        pytest.param(archive_of(("a", b"x" * 50)).getvalue()[:-30], id="cut"),
        pytest.param(archive_of().getvalue(), id="no entry"),
        pytest.param(archive_of(("a/", b"")).getvalue(), id="no file"),
        pytest.param(
            archive_of(("a", b"12345"), compression=zipfile.ZIP_STORED)
            .getvalue()
            .replace(b"12345", b"12346"),
            id="wrong checksum",
        ),
    ],
)
def test_damaged_files_are_refused(target, content):
    with pytest.raises(InvalidArchive):
        unpack_zip(io.BytesIO(content), target, LIMITS)
