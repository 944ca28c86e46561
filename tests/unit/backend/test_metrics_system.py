import io
import re
from types import ModuleType

import pytest

from tsl.backend.metrics import Metric, system

LINE = r"%s\.%s:\d+(\.\d+)?\|#Level:Host\|#hostname:[^,]+,\d+\n"
MEASURED = [
    ("CPUUtilization", "Percent"),
    ("DiskAvailable", "Gigabytes"),
    ("DiskUsage", "Gigabytes"),
    ("DiskUtilization", "Percent"),
    ("MemoryAvailable", "Megabytes"),
    ("MemoryUsed", "Megabytes"),
    ("MemoryUtilization", "Percent"),
]


@pytest.fixture(autouse=True)
def nothing_measured():
    system.system_metrics.clear()
    yield
    system.system_metrics.clear()


def test_the_machine_is_measured_in_torchserve_s_order_and_words(capsys):
    system.collect_all(system, 0)

    expected = "".join(LINE % each for each in MEASURED) + r"\n"
    assert re.fullmatch(expected, capsys.readouterr().out)
    assert system.system_metrics == []


def test_a_script_adds_functions_of_its_own(capsys):
    script = ModuleType("script")
    exec(
        "def board_temperature():\n"
        "    system_metrics.append(Metric('Temperature', 40.5, 'count', dimension))\n"
        "def main():\n"
        "    raise AssertionError\n"
        "def helper(argument):\n"
        "    raise AssertionError\n",
        {**vars(system), "Metric": Metric},
        vars(script),
    )

    system.collect_all(script, 0)

    assert re.fullmatch(LINE % ("Temperature", "Count") + r"\n", capsys.readouterr().out)


def test_the_collector_also_tells_the_memory_of_processes(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("1,2147483647\n"))

    assert system.main(["--gpu", "0"]) == 0

    _, _, processes = capsys.readouterr().out.partition("\n\n")
    assert re.fullmatch(r"1:\d+\n2147483647:0\n", processes)


def test_accelerators_are_told_apart(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0, 30, 512, 2048\\n1, 0, 0, 2048\\n2, 9, 9, 9\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    system.gpu_utilization(2)

    found = [(each.name, each.value, str(each.dimensions[-1])) for each in system.system_metrics]
    assert found == [
        ("GPUMemoryUtilization", 25.0, "device_id:0"),
        ("GPUMemoryUsed", 512.0, "device_id:0"),
        ("GPUUtilization", 30.0, "device_id:0"),
        ("GPUMemoryUtilization", 0.0, "device_id:1"),
        ("GPUMemoryUsed", 0.0, "device_id:1"),
        ("GPUUtilization", 0.0, "device_id:1"),
    ]


def test_without_accelerators_nothing_is_asked():
    system.gpu_utilization(0)

    assert system.system_metrics == []
