"""Metrics of the machine: psutil, accelerators, and the operator's command."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tsl.frontend.metrics import system
from tsl.frontend.metrics.gpus import GpuReader, GpuState
from tsl.frontend.metrics.system import BuiltIn, Measurement, SystemMetrics, parse_lines

GIGABYTE = 1024**3


@pytest.fixture
def machine(monkeypatch):
    """A machine with 8 GB of memory, 2 of them used."""
    seconds = iter(range(1000))

    def cpu_times():
        """Of 8 seconds one is used; what is waited for is not."""
        now = next(seconds)
        return SimpleNamespace(user=now, idle=now * 5, iowait=now * 2)

    fake = SimpleNamespace(
        cpu_times=cpu_times,
        virtual_memory=lambda: SimpleNamespace(
            available=6 * GIGABYTE, used=2 * GIGABYTE, percent=25.0
        ),
        disk_usage=lambda path: SimpleNamespace(free=3 * GIGABYTE, used=GIGABYTE, percent=25.0),
    )
    monkeypatch.setattr(system, "psutil", fake)


def test_the_machine_is_measured_in_the_definitions_units(world, machine):
    measured = world.run(BuiltIn(GpuReader(0))())

    assert {name: value for name, value, _ in measured} == {
        "CPUUtilization": 12.5,
        "MemoryAvailable": 6144.0,
        "MemoryUsed": 2048.0,
        "MemoryUtilization": 25.0,
        "DiskAvailable": 3.0,
        "DiskUsage": 1.0,
        "DiskUtilization": 25.0,
    }
    assert {dimensions for _, _, dimensions in measured} == {("Host",)}


def test_values_go_to_the_page(world, machine, new_board, samples):
    board = new_board()

    async def once():
        task = asyncio.create_task(SystemMetrics(board, 60, BuiltIn(GpuReader(0))).run())
        await asyncio.sleep(1.5)
        task.cancel()

    world.run(once())

    assert 'CPUUtilization{Level="Host",Hostname="vm",} 12.5' in samples(board)


def test_values_go_to_the_log_at_every_interval_and_errors_cost_one_turn(
    world, new_board, lines, caplog
):
    turns = []

    async def measure():
        turns.append(world.now)
        if len(turns) == 2:
            raise OSError("no such disk")
        return [Measurement("DiskUsage", 1.5)]

    async def three():
        task = asyncio.create_task(SystemMetrics(new_board("log"), 60, measure).run())
        await asyncio.sleep(130)
        task.cancel()

    world.run(three())

    assert [round(turn - turns[0]) for turn in turns] == [0, 60, 120]
    assert lines.added == ["DiskUsage.Gigabytes:1.5|#Level:Host|#hostname:vm"] * 2
    assert "no such disk" in caplog.text


def test_the_use_of_processors_is_that_since_the_last_time_whichever_thread_asks(world, machine):
    measure = BuiltIn(GpuReader(0))

    first, second = (dict(m[:2] for m in world.run(measure())) for _ in range(2))

    assert first["CPUUtilization"] == second["CPUUtilization"] == 12.5


def test_processors_of_this_machine_are_between_idle_and_busy():
    measured = dict(each[:2] for each in BuiltIn(GpuReader(0))._measure())

    assert 0 <= measured["CPUUtilization"] <= 100


# -- accelerators


@pytest.fixture
def nvml(monkeypatch):
    """NVIDIA's library with two devices, of which the second does not tell how busy it is."""
    library = ModuleType("pynvml")

    class NVMLError(Exception):
        """As in the real one."""

    def utilization(handle):
        if handle == 1:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=75)

    library.NVMLError = NVMLError
    library.started = 0

    def start():
        library.started += 1

    library.nvmlInit = start
    library.nvmlDeviceGetCount = lambda: 2
    library.nvmlDeviceGetHandleByIndex = lambda index: index
    library.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(
        used=GIGABYTE, total=4 * GIGABYTE
    )
    library.nvmlDeviceGetUtilizationRates = utilization
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


def test_accelerators_are_read_and_the_library_is_started_once(nvml):
    reader = GpuReader(2)

    assert (
        reader.read()
        == reader.read()
        == [
            GpuState(0, GIGABYTE, 25.0, 75.0),
            GpuState(1, GIGABYTE, 25.0, None),
        ]
    )
    assert nvml.started == 1


def test_only_as_many_as_the_server_uses_are_read(nvml):
    assert len(GpuReader(1).read()) == 1


def test_accelerators_have_a_dimension_of_their_own(world, machine, nvml, new_board, samples):
    board = new_board()
    for name, value, dimensions in world.run(BuiltIn(GpuReader(2))()):
        board.series(name, *dimensions).update(value)

    gpu = [line for line in samples(board) if line.startswith("GPU")]
    assert gpu == [
        'GPUMemoryUtilization{Level="Host",DeviceId="0",Hostname="vm",} 25.0',
        'GPUMemoryUtilization{Level="Host",DeviceId="1",Hostname="vm",} 25.0',
        'GPUMemoryUsed{Level="Host",DeviceId="0",Hostname="vm",} 1024.0',
        'GPUMemoryUsed{Level="Host",DeviceId="1",Hostname="vm",} 1024.0',
        'GPUUtilization{Level="Host",DeviceId="0",Hostname="vm",} 75.0',
    ]


def test_without_the_library_one_warning_is_enough(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    reader = GpuReader(1)

    assert reader.read() == reader.read() == []
    assert len(caplog.records) == 1


def test_without_accelerators_nothing_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert GpuReader(0).read() == []


# -- the operator's command


def test_lines_of_torchserves_script_are_understood(caplog):
    text = (
        "CPUUtilization.Percent:0.0|#Level:Host|#hostname:vm,1795336692\n"
        "GPUUtilization.Percent:7|#Level:Host,device_id:0|#hostname:vm,1795336692\n"
        "Big.Bytes:1.5E+9|#|#type:GAUGE|#hostname:vm,1,extra\n"
        "\n"
        "4711:123456\n"
    )

    assert list(parse_lines(text)) == [
        Measurement("CPUUtilization", 0.0, ("Host",)),
        Measurement("GPUUtilization", 7.0, ("Host", "0")),
        Measurement("Big", 1.5e9, ()),
    ]
    assert caplog.records == []


@pytest.mark.parametrize(
    "line", ["hello", "A.Percent:None|#Level:Host|#hostname:vm,1", "A.Percent:1|#Level:Host"]
)
def test_other_lines_are_reported(line, caplog):
    assert list(parse_lines(line)) == []
    assert f'Failed to parse metrics line: "{line}".' in caplog.text


def test_measurements_that_do_not_fit_their_definition_are_reported_once(
    new_board, samples, caplog
):
    board = new_board()
    before = samples(board)

    for _ in range(2):
        board.series("DiskUsage").update(1.0)

    assert samples(board) == before
    assert len(caplog.records) == 1
    assert "Metric DiskUsage is not recorded" in caplog.text
