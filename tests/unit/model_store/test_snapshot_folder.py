"""Names and files of snapshots."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tsl.model_store import SnapshotFolder, SnapshotKind

NOW = datetime.datetime(2026, 11, 23, 13, 29, 7, 832_999)


@pytest.fixture
def folder(tmp_path):
    return SnapshotFolder(tmp_path / "logs" / "config")


def names(folder):
    return [path.name for path in folder.newest_first()]


@pytest.mark.parametrize("kind", SnapshotKind)
def test_a_name_is_the_moment_and_the_occasion(folder, kind):
    assert folder.next_name(kind, NOW) == f"20261123132907832-{kind}.cfg"


def test_names_rise_within_a_millisecond_and_when_the_clock_is_set_back(folder):
    folder.write(folder.next_name(SnapshotKind.STARTUP, NOW), "a")
    folder.write(folder.next_name(SnapshotKind.SNAPSHOT, NOW), "b")
    an_hour_ago = NOW - datetime.timedelta(hours=1)
    folder.write(folder.next_name(SnapshotKind.SHUTDOWN, an_hour_ago), "c")

    assert names(folder) == [
        "20261123132907834-shutdown.cfg",
        "20261123132907833-snapshot.cfg",
        "20261123132907832-startup.cfg",
    ]


def test_a_snapshot_is_for_its_owner_only(folder):
    path = folder.write("20261123132907832-startup.cfg", "text ü")

    assert path.read_text() == "text ü"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_nothing(folder, monkeypatch):
    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)

    with pytest.raises(OSError, match="No space"):
        folder.write("20261123132907832-startup.cfg", "text")

    assert list(folder.path.iterdir()) == []


def test_other_files_are_no_snapshots(folder):
    folder.path.mkdir(parents=True)
    for name in ("x.cfg", "20261123132907832-other.cfg", "99999999999999999-startup.cfg"):
        (folder.path / name).touch()

    assert names(folder) == []
    folder.prune(0)
    assert len(list(folder.path.iterdir())) == 3


def test_no_folder_is_no_snapshots(folder):
    assert names(folder) == []


def test_the_oldest_are_removed_but_not_the_one_in_use(folder):
    for second in range(5):
        moment = NOW + datetime.timedelta(seconds=second)
        folder.write(folder.next_name(SnapshotKind.SNAPSHOT, moment), "x")
    newest, second, _, _, oldest = folder.newest_first()

    folder.prune(2, in_use=oldest)

    assert folder.newest_first() == [newest, second, oldest]


def test_a_file_in_use_that_is_gone_keeps_nothing(folder, tmp_path):
    folder.write(folder.next_name(SnapshotKind.SNAPSHOT, NOW), "x")

    folder.prune(0, in_use=tmp_path / "gone")

    assert names(folder) == []
