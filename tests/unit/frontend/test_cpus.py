"""CPUs by affinity and the container's quota."""

from __future__ import annotations

import pytest

from tsl.frontend import cpus
from tsl.frontend.cpus import usable_cpus


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda pid: set(range(8)))


def test_without_control_groups_the_affinity_counts(tmp_path):
    assert usable_cpus(tmp_path / "none") == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("1000 100000\n", 1),
        ("9900000 100000\n", 8),
        ("", 8),
        ("nonsense\n", 8),
        ("a b\n", 8),
    ],
)
def test_quota_of_version_2(tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text)

    assert usable_cpus(tmp_path) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("150000", "100000", 2), ("-1", "100000", 8), ("100000", "0", 8), ("x", "100000", 8)],
)
def test_quota_of_version_1(tmp_path, quota, period, expected):
    folder = tmp_path / "cpu"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text(quota + "\n")
    (folder / "cpu.cfs_period_us").write_text(period + "\n")

    assert usable_cpus(tmp_path) == expected


def test_there_is_always_one(monkeypatch, tmp_path):
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda pid: set())

    assert usable_cpus(tmp_path) == 1
