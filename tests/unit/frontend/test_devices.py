"""Which accelerator a worker gets."""

from __future__ import annotations

import subprocess

import pytest

from tsl.frontend import devices
from tsl.frontend.devices import (
    CPU,
    Accelerators,
    DeviceAllocator,
    find_accelerators,
    has_accelerators,
)


def count(environ, limit):
    return find_accelerators(environ, limit).count


def new_allocator(gpus):
    return DeviceAllocator(Accelerators(gpus))


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

        monkeypatch.setattr(devices.shutil, "which", {"nvidia-smi": "/bin/nvidia-smi"}.get)
        monkeypatch.setattr(devices.subprocess, "run", run)

    return answer


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", 0), ("0", 1), ("0,1", 2), ("-1", 0), (" 0 , 2 ", 2), ("GPU-abc,GPU-def", 2),
     ("0,-1,1", 1)],
)  # fmt: skip
def test_the_environment_says_which_are_visible(visible, expected):
    assert count({"CUDA_VISIBLE_DEVICES": visible}, None) == expected


@pytest.mark.parametrize(("limit", "expected"), [(None, 3), (0, 0), (2, 2), (9, 3)])
def test_the_configuration_can_only_lower_the_number(limit, expected):
    assert count({"CUDA_VISIBLE_DEVICES": "0,1,2"}, limit) == expected


def test_without_a_driver_there_are_none(monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)

    assert count({}, None) == 0


def test_the_driver_lists_them(driver):
    driver(b"GPU 0: A (UUID: x)\nGPU 1: A (UUID: y)\n  MIG 1g\n")

    assert count({}, None) == 2


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

    assert count({}, None) == 0
    assert "serving on the CPU" in caplog.text


@pytest.mark.parametrize(
    ("tool", "output", "variable", "expected"),
    [
        ("rocm-smi", b'{"card0": {"GPU ID": "0x73"}, "card1": {}, "system": {}}',
         "HIP_VISIBLE_DEVICES", 2),
        ("xpu-smi", b'{"device_list": [{"device_id": 0}, {"device_id": 1}]}',
         "ZE_AFFINITY_MASK", 2),
        ("nvidia-smi", b"GPU 0: A\n", "CUDA_VISIBLE_DEVICES", 1),
        ("xpu-smi", b"no JSON", "ZE_AFFINITY_MASK", 0),
        ("rocm-smi", b"[]", "HIP_VISIBLE_DEVICES", 0),
    ],
)  # fmt: skip
def test_the_tool_of_the_vendor_is_asked(monkeypatch, tool, output, variable, expected):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 0, stdout=output)

    monkeypatch.setattr(devices.shutil, "which", lambda name: name if name == tool else None)
    monkeypatch.setattr(devices.subprocess, "run", run)

    assert find_accelerators({}, None) == Accelerators(expected, variable)


def test_a_vendors_variable_counts_before_its_tool(driver):
    driver(b"GPU 0: A\n")

    found = find_accelerators({"HIP_VISIBLE_DEVICES": "5,7"}, None)

    assert found == Accelerators(2, "HIP_VISIBLE_DEVICES", ("5", "7"))


def test_what_a_process_is_to_see_is_said_in_the_names_of_the_server():
    named = find_accelerators({"CUDA_VISIBLE_DEVICES": "4,GPU-x,6"}, 2)

    assert named.visible((1, 0)) == {"CUDA_VISIBLE_DEVICES": "GPU-x,4"}
    assert Accelerators(4).visible((2, 3)) == {"CUDA_VISIBLE_DEVICES": "2,3"}
    assert Accelerators(4).visible(()) == {}


# -- handing out


def test_devices_go_round_and_the_first_worker_gets_the_second_one():
    allocator = new_allocator(3)

    assert [allocator.next_device("m", "gpu") for _ in range(5)] == [1, 2, 0, 1, 2]


def test_one_counter_for_all_models():
    allocator = new_allocator(2)

    assert [allocator.next_device(name, "") for name in "abab"] == [1, 0, 1, 0]


def test_one_accelerator_is_for_all():
    assert [new_allocator(1).next_device("m", "") for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(("gpus", "device_type"), [(0, "gpu"), (2, "cpu"), (0, "")])
def test_the_cpu(gpus, device_type):
    assert new_allocator(gpus).next_device("m", device_type, (0,)) == CPU


def test_a_model_with_a_list_goes_round_in_it_for_itself():
    allocator = new_allocator(4)

    assert [allocator.next_device("a", "gpu", (3, 1)) for _ in range(3)] == [3, 1, 3]
    assert allocator.next_device("b", "gpu", (3, 1)) == 3
    assert allocator.next_device("c", "gpu") == 1


@pytest.mark.parametrize("listed", [(0, 5), (-1,), (2,)])
def test_a_list_with_a_device_that_does_not_exist_is_ignored_as_a_whole(listed):
    assert new_allocator(2).next_device("m", "gpu", listed) == 1


# -- groups


def test_groups_are_neighbours_and_a_rest_stays_free():
    allocator = new_allocator(5)

    assert allocator.groups("", (), 2) == [(0, 1), (2, 3)]
    assert allocator.groups("gpu", (4, 0, 2), 2) == [(4, 0)]
    assert allocator.groups("", (), 6) == []
    assert allocator.groups("cpu", (), 2) == []


def test_each_model_begins_at_the_first_group():
    allocator = new_allocator(4)

    assert [allocator.take_group("a", "", (), 2) for _ in range(3)] == [(0, 1), (2, 3), (0, 1)]
    assert allocator.take_group("b", "", (), 2) == (0, 1)


def test_a_group_that_was_given_back_is_taken_next():
    allocator = new_allocator(6)
    for _ in range(3):
        allocator.take_group("m", "", (), 2)

    allocator.release_group("m", (2, 3))

    assert allocator.take_group("m", "", (), 2) == (2, 3)


def test_on_the_cpu_there_are_no_groups_to_take():
    allocator = new_allocator(0)

    assert allocator.take_group("m", "", (), 2) == ()
    allocator.release_group("m", ())


@pytest.mark.parametrize(
    ("visible", "tool", "limit", "expected"),
    [
        (None, None, None, False),
        (None, "/bin/nvidia-smi", None, True),
        (None, "/bin/nvidia-smi", 0, False),
        ("", "/bin/nvidia-smi", None, False),
        ("0", None, 2, True),
    ],
)
def test_whether_there_may_be_some_is_told_without_asking_a_tool(
    monkeypatch, visible, tool, limit, expected
):
    monkeypatch.setattr(devices.shutil, "which", {"nvidia-smi": tool}.get)
    monkeypatch.setattr(devices.subprocess, "run", None)
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    assert has_accelerators(environ, limit) is expected
