"""Files that are rotated, from inside and from outside."""

from __future__ import annotations

import pytest

from tsl.frontend.logs.log_file import LogFile


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_lines_are_appended_to_what_is_there(tmp_path):
    path = tmp_path / "deep" / "a.log"
    for text in (b"one\n", b"two\n"):
        file = LogFile(path)
        file.write(text)
        file.close()

    assert path.read_bytes() == b"one\ntwo\n"


def test_a_file_that_would_grow_too_large_is_rotated_and_the_oldest_is_forgotten(tmp_path):
    file = LogFile(tmp_path / "a.log", max_bytes=4, kept=2)

    for number in range(5):
        file.write(b"%d\n\n\n" % number)
    file.close()

    assert names(tmp_path) == ["a.log", "a.log.1", "a.log.2"]
    assert [(tmp_path / name).read_bytes()[:1] for name in names(tmp_path)] == [b"4", b"3", b"2"]


def test_its_size_at_the_start_counts(tmp_path):
    (tmp_path / "a.log").write_bytes(b"full")
    file = LogFile(tmp_path / "a.log", max_bytes=5)

    file.write(b"next")
    file.close()

    assert (tmp_path / "a.log").read_bytes() == b"next"
    assert (tmp_path / "a.log.1").read_bytes() == b"full"


def test_nothing_is_kept_when_nothing_shall_be(tmp_path):
    file = LogFile(tmp_path / "a.log", max_bytes=4, kept=0)

    for number in range(3):
        file.write(b"%d\n\n\n" % number)
    file.close()

    assert names(tmp_path) == ["a.log"]
    assert (tmp_path / "a.log").read_bytes()[:1] == b"2"


def test_without_a_limit_nothing_is_rotated(tmp_path):
    file = LogFile(tmp_path / "a.log", max_bytes=0)
    for _ in range(100):
        file.write(b"x" * 1000)
    file.close()

    assert names(tmp_path) == ["a.log"]


@pytest.mark.parametrize("replaced", [False, True], ids=["moved", "moved and made anew"])
def test_a_file_that_was_moved_is_left_at_the_next_write(tmp_path, replaced):
    """What logrotate does, with ``nocreate`` and with ``create``."""
    path = tmp_path / "a.log"
    file = LogFile(path)
    file.write(b"old\n")
    path.rename(tmp_path / "moved")
    if replaced:
        path.write_bytes(b"")

    file.write(b"new\n")
    file.close()

    assert (tmp_path / "moved").read_bytes() == b"old\n"
    assert path.read_bytes() == b"new\n"


def test_a_file_that_was_truncated_goes_on(tmp_path):
    """What logrotate does with ``copytruncate``."""
    path = tmp_path / "a.log"
    file = LogFile(path)
    file.write(b"old\n")
    path.write_bytes(b"")

    file.write(b"new\n")
    file.close()

    assert path.read_bytes() == b"new\n"


def test_a_rotation_that_is_not_possible_loses_nothing(tmp_path):
    (tmp_path / "a.log.1").mkdir()
    (tmp_path / "a.log.1" / "x").write_bytes(b"")
    file = LogFile(tmp_path / "a.log", max_bytes=4, kept=1)

    for number in range(3):
        file.write(b"%d\n\n\n" % number)
    file.close()

    assert (tmp_path / "a.log").read_bytes() == b"0\n\n\n1\n\n\n2\n\n\n"


def test_a_failed_write_is_the_callers_to_know_and_the_next_one_tries_again(tmp_path):
    path = tmp_path / "folder" / "a.log"
    file = LogFile(path)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"in the way")

    with pytest.raises(OSError, match=r"exists|directory"):
        file.write(b"lost")
    path.parent.unlink()
    file.write(b"kept")
    file.close()

    assert path.read_bytes() == b"kept"
