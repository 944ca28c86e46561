"""Which accelerator a worker gets."""

from __future__ import annotations

import subprocess

import pytest

from tsl.frontend import devices
from tsl.frontend.devices import CPU, DeviceAllocator, count_gpus


@pytest.fixture
def driver(monkeypatch):
    """Makes ``nvidia-smi`` answer with a text, or raise an error."""

    def answer(result):
        def run(command, **options):
            assert command == ["/bin/nvidia-smi", "--list-gpus"]
            assert options["timeout"]
            if isinstance(result, Exception):
                raise result
            return subprocess.CompletedProcess(command, 0, stdout=result)

        monkeypatch.setattr(devices.shutil, "which", lambda name: f"/bin/{name}")
        monkeypatch.setattr(devices.subprocess, "run", run)

    return answer


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", 0), ("0", 1), ("0,1", 2), ("-1", 0), (" 0 , 2 ", 2), ("GPU-abc,GPU-def", 2),
     ("0,-1,1", 1)],
)  # fmt: skip
def test_the_environment_says_which_are_visible(visible, expected):
    assert count_gpus({"CUDA_VISIBLE_DEVICES": visible}, None) == expected


@pytest.mark.parametrize(("limit", "expected"), [(None, 3), (0, 0), (2, 2), (9, 3)])
def test_the_configuration_can_only_lower_the_number(limit, expected):
    assert count_gpus({"CUDA_VISIBLE_DEVICES": "0,1,2"}, limit) == expected


def test_without_a_driver_there_are_none(monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)

    assert count_gpus({}, None) == 0


def test_the_driver_lists_them(driver):
    driver(b"GPU 0: A (UUID: x)\nGPU 1: A (UUID: y)\n  MIG 1g\n")

    assert count_gpus({}, None) == 2


@pytest.mark.parametrize(
    "error",
    [
        OSError("cannot run"),
        subprocess.TimeoutExpired("nvidia-smi", 10),
        subprocess.CalledProcessError(9, "nvidia-smi"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_driver_that_does_not_answer_means_cpu_and_a_warning(driver, caplog, error):
    driver(error)

    assert count_gpus({}, None) == 0
    assert "serving on the CPU" in caplog.text


# -- handing out


def test_devices_go_round_and_the_first_worker_gets_the_second_one():
    allocator = DeviceAllocator(3)

    assert [allocator.next_device("m", "gpu") for _ in range(5)] == [1, 2, 0, 1, 2]


def test_one_counter_for_all_models():
    allocator = DeviceAllocator(2)

    assert [allocator.next_device(name, "") for name in "abab"] == [1, 0, 1, 0]


def test_one_accelerator_is_for_all():
    assert [DeviceAllocator(1).next_device("m", "") for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(("gpus", "device_type"), [(0, "gpu"), (2, "cpu"), (0, "")])
def test_the_cpu(gpus, device_type):
    assert DeviceAllocator(gpus).next_device("m", device_type, (0,)) == CPU


def test_a_model_with_a_list_goes_round_in_it_for_itself():
    allocator = DeviceAllocator(4)

    assert [allocator.next_device("a", "gpu", (3, 1)) for _ in range(3)] == [3, 1, 3]
    assert allocator.next_device("b", "gpu", (3, 1)) == 3
    assert allocator.next_device("c", "gpu") == 1


@pytest.mark.parametrize("listed", [(0, 5), (-1,), (2,)])
def test_a_list_with_a_device_that_does_not_exist_is_ignored_as_a_whole(listed):
    assert DeviceAllocator(2).next_device("m", "gpu", listed) == 1
