import errno

import pytest

from tsl.model_store.unpacking import (
    Budget,
    Destination,
    ExtractionLimits,
    archive_errors,
    safe_parts,
)
from tsl.protocol.errors import InvalidArchive, ServiceUnavailable

LIMITS = ExtractionLimits(
    max_total_bytes=10_000, max_entries=5, max_ratio=10, ratio_floor_bytes=1000
)


def destination(tmp_path, limits=LIMITS):
    return Destination(tmp_path, Budget(limits, archive_bytes=100))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a",)),
        ("a/b", ("a", "b")),
        ("a//b/./c/", ("a", "b", "c")),
        ("./", ()),
        ("...", ("...",)),
        ("a..b", ("a..b",)),
    ],
)
def test_plain_names_are_split(name, parts):
    assert safe_parts(name) == parts


@pytest.mark.parametrize(
    "name", ["", "/", "/a", "//a", "..", "../a", "a/..", "a/../b", "a\\b", "C:a", "c:/a", "a\0b"]
)
def test_names_that_could_leave_the_target_are_refused(name):
    with pytest.raises(InvalidArchive):
        safe_parts(name)


def test_files_and_folders_are_written_with_plain_modes(tmp_path):
    target = destination(tmp_path)

    target.add_file(("a", "run.sh"), [b"x", b"y"], is_executable=True)
    target.add_file(("a", "data"), [], is_executable=False)

    assert (tmp_path / "a" / "run.sh").read_bytes() == b"xy"
    assert (tmp_path / "a" / "run.sh").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "a" / "data").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755


def test_the_later_of_two_equal_names_stays(tmp_path):
    target = destination(tmp_path)

    target.add_file(("a",), [b"long first"], is_executable=False)
    target.add_file(("a",), [b"last"], is_executable=False)

    assert (tmp_path / "a").read_bytes() == b"last"


def test_a_file_cannot_become_a_folder(tmp_path):
    target = destination(tmp_path)
    target.add_file(("a",), [], is_executable=False)

    with pytest.raises(InvalidArchive, match="same name"):
        target.add_file(("a", "b"), [], is_executable=False)


def test_a_folder_cannot_become_a_file(tmp_path):
    target = destination(tmp_path)
    target.add_folder(("a",))

    with pytest.raises(InvalidArchive, match="name of a folder"):
        target.add_file(("a",), [], is_executable=False)


def test_folders_on_the_way_count_as_entries(tmp_path):
    target = destination(tmp_path)

    with pytest.raises(InvalidArchive, match="more than 5 files"):
        target.add_file(tuple("abcdef"), [], is_executable=False)


def test_only_files_make_a_destination_non_empty(tmp_path):
    target = destination(tmp_path)
    target.add_folder(("a",))
    assert target.is_empty

    target.add_file(("b",), [], is_executable=False)
    assert not target.is_empty


@pytest.mark.parametrize(
    ("archive_bytes", "unpacked", "refused"),
    [
        pytest.param(1, 1000, False, id="any ratio up to the floor"),
        pytest.param(1, 1001, True, id="ratio above the floor"),
        pytest.param(500, 5000, False, id="ratio at the limit"),
        pytest.param(500, 5001, True, id="ratio above the limit"),
        pytest.param(5000, 10_000, False, id="size at the limit"),
        pytest.param(5000, 10_001, True, id="size above the limit"),
    ],
)
def test_the_budget_limits_size_and_ratio(archive_bytes, unpacked, refused):
    budget = Budget(LIMITS, archive_bytes)

    if refused:
        with pytest.raises(InvalidArchive, match="unpacks to more than"):
            budget.spend_bytes(unpacked)
    else:
        budget.spend_bytes(unpacked)
        assert budget.spent_bytes == unpacked


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        pytest.param(EOFError("cut"), InvalidArchive, id="the format's own error"),
        pytest.param(OSError("Invalid data stream"), InvalidArchive, id="of a decompressor"),
        pytest.param(OSError(errno.ENAMETOOLONG, "long"), InvalidArchive, id="name too long"),
        pytest.param(OSError(errno.ENOSPC, "full"), ServiceUnavailable, id="disk full"),
        pytest.param(OSError(errno.EIO, "broken"), OSError, id="broken disk"),
        pytest.param(KeyError("bug"), KeyError, id="a bug of ours"),
    ],
)
def test_errors_are_told_apart(raised, expected):
    with pytest.raises(expected), archive_errors("zip", EOFError):
        raise raised
