import gzip
import io
import tarfile

import pytest

from tsl.model_store.tar_archive import unpack_tar_gz
from tsl.model_store.unpacking import ExtractionLimits
from tsl.protocol.errors import InvalidArchive

LIMITS = ExtractionLimits(
    max_total_bytes=1_000_000, max_entries=20, max_ratio=10, ratio_floor_bytes=100_000
)


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def tar_of(*entries, tar_format=tarfile.PAX_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as archive:
        for entry, content in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def archive_of(*entries, **options):
    return io.BytesIO(gzip.compress(tar_of(*entries, **options)))


def special(name, kind, target="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    info.mode = mode
    return info


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_the_top_folder_is_stripped(target, tree, tar_format):
    entries = [
        (special("m", tarfile.DIRTYPE), b""),
        ("m/a/b.txt", b"one"),
        ("m/c", b"x" * 1024),
        (special("m/empty", tarfile.DIRTYPE), b""),
        ("m/" + "long" * 20 + "/" + "name" * 20, b"two"),
    ]

    unpack_tar_gz(archive_of(*entries, tar_format=tar_format), target, LIMITS)

    assert tree(target) == {
        "a/b.txt": b"one",
        "c": b"x" * 1024,
        "long" * 20 + "/" + "name" * 20: b"two",
    }
    assert (target / "empty").is_dir()


def test_a_dot_counts_as_the_top_folder(target, tree):
    unpack_tar_gz(archive_of(("./a/b", b"1"), ("./c", b"2")), target, LIMITS)

    assert tree(target) == {"a/b": b"1", "c": b"2"}


def test_a_file_outside_of_any_folder_stays_where_it_is(target, tree):
    unpack_tar_gz(archive_of(("a", b"1")), target, LIMITS)

    assert tree(target) == {"a": b"1"}


def test_the_executable_bit_is_kept_and_nothing_else(target):
    run = special("m/run", tarfile.REGTYPE, mode=0o6777)

    unpack_tar_gz(archive_of((run, b"x"), ("m/data", b"x")), target, LIMITS)

    assert (target / "run").stat().st_mode & 0o7777 == 0o755
    assert (target / "data").stat().st_mode & 0o7777 == 0o644


def test_progress_counts_the_archive(target):
    seen = []
    archive = archive_of(("m/a", b"1"), ("m/b", b"2"))

    unpack_tar_gz(archive, target, LIMITS, lambda *now: seen.append(now))

    assert seen[-1] == (len(archive.getvalue()), len(archive.getvalue()))


@pytest.mark.parametrize("name", ["../out", "m/../../out", "/abs", "m/C\\x", "C:/x", "m/.."])
def test_bad_names_are_refused(tmp_path, target, name):
    with pytest.raises(InvalidArchive):
        unpack_tar_gz(archive_of((name, b"x")), target, LIMITS)

    assert list(tmp_path.iterdir()) == [target]


def test_a_nul_in_a_name_is_refused(target):
    info = tarfile.TarInfo("m/a")
    info.pax_headers = {"path": "m/a\0b"}

    with pytest.raises(InvalidArchive, match="not allowed"):
        unpack_tar_gz(archive_of((info, b"x")), target, LIMITS)


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
    ],
    ids=["symlink", "hard link", "character device", "block device", "fifo"],
)
def test_only_files_and_folders_are_unpacked(target, kind):
    entries = [("m/a", b"x"), (special("m/b", kind, "m/a"), b"")]

    with pytest.raises(InvalidArchive, match="no plain file"):
        unpack_tar_gz(archive_of(*entries), target, LIMITS)


def test_sparse_files_are_refused(target):
    info = tarfile.TarInfo("m/a")
    info.pax_headers = {"GNU.sparse.size": "1000000000", "GNU.sparse.map": "0,1"}

    with pytest.raises(InvalidArchive, match="no plain file"):
        unpack_tar_gz(archive_of((info, b"x")), target, LIMITS)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([("m/a", b"x"), ("m/a/b", b"x")], id="file, then folder"),
        pytest.param([("m/a/b", b"x"), ("m/a", b"x")], id="folder, then file"),
        pytest.param(
            [("m/a", b"x"), (special("m/a", tarfile.DIRTYPE), b"")], id="file, then folder entry"
        ),
    ],
)
def test_conflicting_paths_are_refused(target, entries):
    with pytest.raises(InvalidArchive, match="file"):
        unpack_tar_gz(archive_of(*entries), target, LIMITS)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        pytest.param([("m/a", b"\0" * 200_000)], "times its size", id="ratio"),
        pytest.param([(f"m/{n}", b"") for n in range(21)], "more than 20 files", id="entries"),
    ],
)
def test_bombs_are_refused(target, entries, words):
    with pytest.raises(InvalidArchive, match=words):
        unpack_tar_gz(archive_of(*entries), target, LIMITS)


def test_zeros_behind_the_end_count_as_unpacked(target):
    archive = io.BytesIO(gzip.compress(tar_of(("m/a", b"x")) + b"\0" * 500_000))

    with pytest.raises(InvalidArchive, match="times its size"):
        unpack_tar_gz(archive, target, LIMITS)


def test_a_huge_header_is_refused_before_it_is_read(target):
    long_name = special("m/a", tarfile.GNUTYPE_LONGNAME)
    long_name.size = 2**33
    archive = io.BytesIO(gzip.compress(long_name.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048))

    with pytest.raises(InvalidArchive, match="impossible size"):
        unpack_tar_gz(archive, target, LIMITS)


def damaged_header():
    data = bytearray(tar_of(("m/a", b"x"), ("m/b", b"y")))
    data[1024] ^= 0xFF  # first byte of the second header
    return gzip.compress(bytes(data))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty file"),
        pytest.param(b"this is no archive", id="text"),
        pytest.param(gzip.compress(b"this is no tar"), id="no tar"),
        pytest.param(gzip.compress(tar_of()), id="no entry"),
        pytest.param(gzip.compress(tar_of((special("m", tarfile.DIRTYPE), b""))), id="no file"),
        pytest.param(gzip.compress(tar_of(("m/a", b"x" * 900)))[:-9], id="gzip cut"),
        pytest.param(gzip.compress(tar_of(("m/a", b"x" * 900))[:1000]), id="file cut"),
        pytest.param(gzip.compress(tar_of(("m/a", b"x"), ("m/b", b"y"))[:1100]), id="header cut"),
        pytest.param(gzip.compress(tar_of(("m/a", b"x")))[:-8] + b"\0" * 8, id="wrong checksum"),
        pytest.param(damaged_header(), id="damaged header in the middle"),
    ],
)
def test_damaged_files_are_refused(target, content):
    with pytest.raises(InvalidArchive):
        unpack_tar_gz(io.BytesIO(content), target, LIMITS)
