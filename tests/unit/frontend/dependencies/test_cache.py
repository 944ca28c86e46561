"""Folders that are built once: complete or not there, and locked while they are used."""

import asyncio
import os
import time

import pytest

from tsl.frontend.dependencies.cache import MARK, UNUSED_AFTER_S, CachedFolder, remove_unused


@pytest.fixture
def new_folder(tmp_path):
    made = []

    def new_folder(name="key"):
        made.append(CachedFolder(tmp_path / name))
        return made[-1]

    yield new_folder
    for folder in made:
        folder.release()


def build(folder, *files):
    folder.begin()
    for name in files:
        (folder.path / name).write_text("x")
    folder.complete({"for": "m"})


def test_a_folder_counts_when_it_is_marked(new_folder):
    folder = new_folder()
    assert not folder.is_complete()
    folder.begin()
    (folder.path / "a.py").write_text("x")
    assert not folder.is_complete()

    folder.complete({"for": "m"})

    assert folder.is_complete()


def test_what_python_compiles_later_does_not_count(new_folder):
    folder = new_folder()
    build(folder, "a.py", "b.py")
    (folder.path / "c.pyc").write_text("x")
    (folder.path / "b.py").unlink()

    assert not folder.is_complete()  # a cleaner of temporary files was here


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": "x"}'])
def test_a_mark_that_cannot_be_read_is_none(new_folder, text):
    folder = new_folder()
    build(folder, "a.py")
    (folder.path / MARK).write_text(text)

    assert not folder.is_complete()


def test_building_begins_with_an_empty_folder(new_folder):
    folder = new_folder()
    build(folder, "left.py")

    folder.begin()

    assert list(folder.path.iterdir()) == []


def test_many_use_what_one_builds(new_folder):
    async def story():
        builder, user, other = new_folder(), new_folder(), new_folder()
        await builder.lock_exclusive()
        waiting = asyncio.create_task(user.lock_shared())
        await asyncio.sleep(0)
        assert not waiting.done()

        await builder.lock_shared()
        await waiting
        await other.lock_shared()

        for folder in (builder, user):
            folder.release()
        assert other.lock >= 0

    asyncio.run(story())


def test_what_was_not_used_for_long_is_removed(new_folder, tmp_path):
    old, used, fresh = new_folder("old"), new_folder("used"), new_folder("fresh")
    for folder in (old, used, fresh):
        build(folder, "a.py")
    long_ago = time.time() - UNUSED_AFTER_S - 60
    for folder in (old, used):
        os.utime(folder.path / MARK, (long_ago, long_ago))
    asyncio.run(used.lock_shared())

    remove_unused(tmp_path)

    assert [folder.path.exists() for folder in (old, used, fresh)] == [False, True, True]


def test_using_a_folder_keeps_it_young(new_folder):
    folder = new_folder()
    build(folder, "a.py")
    os.utime(folder.path / MARK, (1, 1))

    assert folder.is_complete()

    assert (folder.path / MARK).stat().st_mtime > 1
