import fcntl
import io
import os
import shutil
import threading
import time

import pytest

from tsl.model_store import archive as archive_module
from tsl.model_store.archive import ArchiveCache, ArchiveKind, recognise
from tsl.model_store.unpacking import ExtractionLimits
from tsl.protocol.errors import ConfigError, InvalidArchive

FILES = {"echo.py": b"code", "sub/data": b"1"}


@pytest.fixture
def cache(tmp_path):
    return ArchiveCache(tmp_path / "cache")


@pytest.fixture
def entries(tmp_path):
    """Names in the cache folder."""
    return lambda: sorted(path.name for path in (tmp_path / "cache").iterdir())


def age(path):
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))


def test_a_zip_file_is_unpacked(cache, tmp_path, write_zip, tree):
    folder = cache.open(write_zip(tmp_path / "m.mar", FILES))

    assert tree(folder.path) == FILES
    assert folder.path.is_absolute()


def test_a_tar_gz_file_is_unpacked(cache, tmp_path, write_tar, tree):
    folder = cache.open(write_tar(tmp_path / "m.tar.gz", FILES))

    assert tree(folder.path) == FILES


def test_the_same_content_is_unpacked_once(cache, tmp_path, write_zip, entries):
    first = cache.open(write_zip(tmp_path / "a.mar", FILES))
    shutil.copy(tmp_path / "a.mar", tmp_path / "b.mar")

    second = cache.open(tmp_path / "b.mar")

    assert second.path == first.path
    assert len(entries()) == 1


def test_other_content_gets_another_folder(cache, tmp_path, write_zip):
    first = cache.open(write_zip(tmp_path / "m.mar", FILES))
    second = cache.open(write_zip(tmp_path / "m.mar", {"echo.py": b"new"}))

    assert first.path != second.path
    assert (first.path / "echo.py").read_bytes() == b"code"


def test_an_earlier_run_of_the_server_left_the_folder(tmp_path, write_zip):
    path = write_zip(tmp_path / "m.mar", FILES)
    first = ArchiveCache(tmp_path / "cache").open(path)
    (first.path / "mark").touch()

    second = ArchiveCache(tmp_path / "cache").open(path)

    assert (second.path / "mark").exists()


def test_a_folder_is_removed_when_nobody_uses_it(cache, tmp_path, write_zip, entries):
    path = write_zip(tmp_path / "m.mar", FILES)
    first, second = cache.open(path), cache.open(path)

    cache.release(first)
    assert (second.path / "echo.py").exists()

    cache.release(second)
    assert entries() == []


def test_another_server_keeps_a_folder_alive(tmp_path, write_zip):
    path = write_zip(tmp_path / "m.mar", FILES)
    ours, theirs = ArchiveCache(tmp_path / "cache"), ArchiveCache(tmp_path / "cache")
    folder = ours.open(path)
    other = theirs.open(path)

    ours.release(folder)

    assert (other.path / "echo.py").exists()


def test_releasing_a_folder_that_somebody_deleted_is_fine(cache, tmp_path, write_zip):
    folder = cache.open(write_zip(tmp_path / "m.mar", FILES))
    shutil.rmtree(folder.path)

    cache.release(folder)

    assert not folder.path.exists()


def test_without_file_locks_folders_are_used_and_kept(
    cache, tmp_path, write_zip, monkeypatch, caplog
):
    def no_locks(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)

    folder = cache.open(write_zip(tmp_path / "m.mar", FILES))
    cache.release(folder)

    assert (folder.path / "echo.py").exists()
    assert "not removed" in caplog.text


def test_threads_that_open_the_same_archive_agree(cache, tmp_path, write_zip, entries):
    path = write_zip(tmp_path / "m.mar", {str(n): b"x" for n in range(50)})
    folders = []
    start = threading.Barrier(4)

    def open_it():
        start.wait()
        folders.append(cache.open(path))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({folder.path for folder in folders}) == 1
    assert len(folders) == 4
    assert len(entries()) == 1
    assert len(list(folders[0].path.iterdir())) == 50


def test_who_loses_the_race_uses_the_winners_folder(
    cache, tmp_path, write_zip, monkeypatch, entries
):
    """The winner finishes while we are unpacking, just before our rename."""
    path = write_zip(tmp_path / "m.mar", FILES)
    winner = ArchiveCache(tmp_path / "cache")
    unpack_zip = archive_module.unpack_zip
    won = []

    def unpack_slowly(*arguments):
        unpack_zip(*arguments)
        if not won:
            won.append(None)
            won[0] = winner.open(path)
            (won[0].path / "mark").touch()

    monkeypatch.setattr(archive_module, "unpack_zip", unpack_slowly)

    folder = cache.open(path)

    assert (folder.path / "mark").exists()
    assert entries() == [folder.path.name]


def test_a_bad_archive_leaves_nothing_behind(cache, tmp_path, write_zip, entries):
    path = write_zip(tmp_path / "m.mar", [("a", b"x"), ("a/b", b"x")])

    with pytest.raises(InvalidArchive):
        cache.open(path)

    assert entries() == []


def test_limits_are_passed_on(tmp_path, write_zip):
    cache = ArchiveCache(tmp_path / "cache", ExtractionLimits(max_total_bytes=3))

    with pytest.raises(InvalidArchive, match="more than 3 bytes"):
        cache.open(write_zip(tmp_path / "m.mar", FILES))


def test_an_archive_that_changes_while_it_is_read_is_refused(cache, tmp_path, write_zip, entries):
    path = write_zip(tmp_path / "m.mar", FILES)

    def change(stage, done, total):
        if stage == "unpacking":
            os.utime(path, (1, 1))

    with pytest.raises(InvalidArchive, match="was changed"):
        cache.open(path, change)
    assert entries() == []


def test_progress_names_the_stages(cache, tmp_path, write_zip):
    path = write_zip(tmp_path / "m.mar", FILES)
    seen = []

    cache.open(path, lambda *now: seen.append(now))

    size = path.stat().st_size
    assert seen == [("checking", size, size), ("unpacking", 4, 5), ("unpacking", 5, 5)]


def test_a_folder_is_served_in_place(cache, tmp_path, entries):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "echo.py").touch()
    (tmp_path / "model" / "data").mkdir()

    folder = cache.open(tmp_path / "model")
    cache.release(folder)

    assert folder.path == tmp_path / "model"
    assert (tmp_path / "model" / "echo.py").exists()
    assert entries() == []


def test_a_folder_with_a_single_folder_stands_for_that(cache, tmp_path):
    (tmp_path / "model" / "inner" / "deeper").mkdir(parents=True)

    assert cache.open(tmp_path / "model").path == tmp_path / "model" / "inner"


def test_a_folder_with_a_single_file_is_itself(cache, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "echo.py").touch()

    assert cache.open(tmp_path / "model").path == tmp_path / "model"


def test_a_link_to_a_folder_is_resolved(cache, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert cache.open(tmp_path / "link").path == tmp_path / "real"


def test_leftovers_of_dead_processes_are_removed(tmp_path, entries):
    cache_folder = tmp_path / "cache"
    for name in (".unpacking-old", ".removed-old", ".unpacking-new", "a" * 64):
        (cache_folder / name).mkdir(parents=True)
        (cache_folder / name / "file").touch()
        if not name.endswith("new"):
            age(cache_folder / name)

    ArchiveCache(cache_folder)

    assert entries() == [".unpacking-new", "a" * 64]


def test_an_unpacking_that_goes_on_is_no_leftover(tmp_path, entries):
    busy = tmp_path / "cache" / ".unpacking-busy"
    busy.mkdir(parents=True)
    age(busy)
    lock = os.open(busy, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)

    ArchiveCache(tmp_path / "cache")

    assert entries() == [busy.name]
    os.close(lock)


def test_the_cache_is_for_this_user_alone(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o777)

    ArchiveCache(tmp_path / "cache")

    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_cache_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    with pytest.raises(ConfigError, match="does not belong"):
        ArchiveCache(tmp_path / "cache")


def test_a_link_as_cache_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "real")

    with pytest.raises(ConfigError, match="does not belong"):
        ArchiveCache(tmp_path / "cache")


def test_a_file_as_cache_is_refused(tmp_path):
    (tmp_path / "cache").touch()

    with pytest.raises(ConfigError, match="cannot be used"):
        ArchiveCache(tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"PK\x03\x04...", "m.mar", ArchiveKind.ZIP),
        (b"PK\x03\x04...", "m.model", ArchiveKind.ZIP),
        (b"\x1f\x8b...", "m.tar.gz", ArchiveKind.TAR_GZ),
        (b"\x1f\x8b...", "m.mar", ArchiveKind.TAR_GZ),
        (b"#!/bin/sh", "m.mar", ArchiveKind.ZIP),
    ],
)
def test_formats_are_recognised_by_content(content, name, kind):
    assert recognise(io.BytesIO(content), name) is kind


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "m.mar"), (b"text", "m.tar.gz"), (b"text", "m")]
)
def test_other_formats_are_refused(content, name):
    with pytest.raises(InvalidArchive, match="neither"):
        recognise(io.BytesIO(content), name)
