"""The folder of a run, and the removal of those whose servers are gone."""

import os

from tsl.frontend.runtime_folder import LOCK, RuntimeFolder, remove_abandoned


def abandon(folder):
    """What the kernel does when the server is killed."""
    os.close(folder._lock)


def test_a_folder_is_for_nobody_else_and_goes_when_it_is_removed(tmp_path):
    folder = RuntimeFolder(tmp_path)

    assert folder.path.parent == tmp_path
    assert folder.path.stat().st_mode & 0o777 == 0o700

    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_has_left_is_removed(tmp_path, caplog):
    caplog.set_level("INFO")
    left, living = RuntimeFolder(tmp_path), RuntimeFolder(tmp_path)
    (left.path / "workers.sock").touch()
    abandon(left)

    assert remove_abandoned(tmp_path) == [left.path]

    assert list(tmp_path.iterdir()) == [living.path]
    assert str(left.path) in caplog.text
    living.remove()


def test_a_folder_that_is_not_known_to_be_a_server_s_stays(tmp_path):
    (tmp_path / "tsl-notes").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / LOCK).touch()

    assert remove_abandoned(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (tmp_path / "tsl-link").symlink_to(elsewhere)

    assert remove_abandoned(tmp_path) == []
    assert (elsewhere / LOCK).exists()


def test_a_folder_of_somebody_else_stays(tmp_path, monkeypatch):
    left = RuntimeFolder(tmp_path)
    abandon(left)
    monkeypatch.setattr(os, "geteuid", lambda: left.path.stat().st_uid + 1)

    assert remove_abandoned(tmp_path) == []
    assert left.path.exists()


def test_a_start_that_is_just_making_its_folder_is_not_disturbed(tmp_path):
    folder = RuntimeFolder(tmp_path)
    (folder.path / LOCK).rename(folder.path / f"{LOCK}.new")

    assert remove_abandoned(tmp_path) == []
    folder.remove()


def test_without_locks_a_folder_is_made_all_the_same_and_never_swept(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = RuntimeFolder(tmp_path)
    monkeypatch.undo()

    assert remove_abandoned(tmp_path) == []
    assert folder.path.exists()
    folder.remove()
