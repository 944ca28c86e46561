"""Which accelerators there are, and which of them a worker gets.

The front end itself never touches one: it asks the driver's command line tool how many there are.
Workers get numbers from 0 up. A worker that is made of several processes, or that starts its own,
gets a group of devices and sees no others: the vendor's variable says so.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

logger = logging.getLogger(__name__)

CPU: Final = -1
"""Device id of a worker without accelerator."""
PROBE_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Accelerators:
    """The accelerators that workers may use.

    Attributes:
        count: how many.
        variable: environment variable that names those a process may see.
        names: what to write there for each of them; empty for the numbers themselves.
    """

    count: int = 0
    variable: str = "CUDA_VISIBLE_DEVICES"
    names: tuple[str, ...] = ()

    def visible(self, devices: Sequence[int]) -> dict[str, str]:
        """Environment of a process that is to see only some of them; none on the CPU."""
        if not devices:
            return {}
        names = [self.names[each] if self.names else str(each) for each in devices]
        return {self.variable: ",".join(names)}


@dataclass(frozen=True, slots=True)
class _Vendor:
    """How to ask one vendor's tool."""

    command: tuple[str, ...]
    count: Callable[[bytes], int]
    variable: str


def _count_lines(output: bytes) -> int:
    return sum(line.startswith(b"GPU ") for line in output.splitlines())


def _count_cards(output: bytes) -> int:
    return sum(key.startswith("card") for key in _json_object(output))


def _count_list(output: bytes) -> int:
    return len(_json_object(output).get("device_list", ()))


def _json_object(output: bytes) -> dict[str, Any]:
    document = json.loads(output)
    return document if isinstance(document, dict) else {}


VENDORS: Final = (
    _Vendor(("rocm-smi", "--showid", "--json"), _count_cards, "HIP_VISIBLE_DEVICES"),
    _Vendor(("nvidia-smi", "--list-gpus"), _count_lines, "CUDA_VISIBLE_DEVICES"),
    _Vendor(("xpu-smi", "discovery", "-j"), _count_list, "ZE_AFFINITY_MASK"),
)
"""The first whose tool is installed decides, as with TorchServe."""


def has_accelerators(environ: Mapping[str, str], limit: int | None) -> bool:
    """Whether there may be accelerators on this machine; quick, because no tool is asked.

    Args:
        environ: a vendor's variable in it counts before a tool that is installed.
        limit: ``number_of_gpu``, None when not configured.
    """
    if limit == 0:
        return False
    listed = _listed(environ)
    if listed is not None:
        return listed.count > 0
    return any(shutil.which(vendor.command[0]) for vendor in VENDORS)


def find_accelerators(environ: Mapping[str, str], limit: int | None) -> Accelerators:
    """Accelerators on this machine.

    Args:
        environ: a vendor's variable in it counts before anything is asked.
        limit: ``number_of_gpu``, None when not configured.
    """
    found = _listed(environ) or _ask_drivers()
    if limit is None or limit >= found.count:
        return found
    return Accelerators(limit, found.variable, found.names[:limit])


def _listed(environ: Mapping[str, str]) -> Accelerators | None:
    """Devices that the environment names; as the driver reads it, -1 ends the list."""
    for vendor in sorted(VENDORS, key=lambda vendor: vendor.variable != "CUDA_VISIBLE_DEVICES"):
        visible = environ.get(vendor.variable)
        if visible is None:
            continue
        items = [item.strip() for item in visible.split(",")]
        if "-1" in items:
            items = items[: items.index("-1")]
        names = tuple(item for item in items if item)
        return Accelerators(len(names), vendor.variable, names)
    return None


def _ask_drivers() -> Accelerators:
    for vendor in VENDORS:
        tool = shutil.which(vendor.command[0])
        if tool is not None:
            return Accelerators(_ask(tool, vendor), vendor.variable)
    return Accelerators()


def _ask(tool: str, vendor: _Vendor) -> int:
    try:
        done = subprocess.run(  # noqa: S603 - a path that `which` found, no arguments from outside
            [tool, *vendor.command[1:]], capture_output=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        return vendor.count(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logger.warning("%s does not answer, serving on the CPU: %s", vendor.command[0], error)
        return 0


class DeviceAllocator:
    """Hands out devices round-robin, as TorchServe: one counter for the whole server.

    Args:
        accelerators: what there is.
    """

    def __init__(self, accelerators: Accelerators) -> None:
        self.accelerators = accelerators
        self.gpus = accelerators.count
        self._last = 0
        self._last_listed: dict[str, int] = {}
        self._taken: Counter[tuple[str, tuple[int, ...]]] = Counter()

    def next_device(self, model: str, device_type: str, device_ids: Sequence[int] = ()) -> int:
        """Device id for another worker of a model.

        Args:
            model: name and version; models with a device list count for themselves.
            device_type: ``cpu`` keeps the worker off the accelerators; anything else does not.
            device_ids: the model's own list; ignored as a whole when an id does not exist.

        Returns:
            0 to ``gpus - 1``, or `CPU`.
        """
        devices = self._usable(device_type, device_ids)
        if not devices:
            return CPU
        if devices == tuple(device_ids):
            turn = self._last_listed.get(model, -1) + 1
            self._last_listed[model] = turn
            return devices[turn % len(devices)]
        self._last += 1  # counted first: on two devices the first worker gets device 1
        return self._last % self.gpus

    def groups(
        self, device_type: str, device_ids: Sequence[int], size: int
    ) -> list[tuple[int, ...]]:
        """The groups of so many devices that a model may use; empty on the CPU.

        Args:
            device_type: see `next_device`.
            device_ids: see `next_device`; neighbours in the list make up a group.
            size: devices per worker.
        """
        devices = self._usable(device_type, device_ids)
        starts = range(0, len(devices) - size + 1, size)
        return [devices[start : start + size] for start in starts]

    def has_all(self, device_ids: Sequence[int]) -> bool:
        """Whether all of a model's list exist."""
        return all(0 <= number < self.gpus for number in device_ids)

    def is_on_cpu(self, device_type: str, device_ids: Sequence[int] = ()) -> bool:
        """Whether a model has no accelerator to use."""
        return not self._usable(device_type, device_ids)

    def take_group(
        self, model: str, device_type: str, device_ids: Sequence[int], size: int
    ) -> tuple[int, ...]:
        """A group of devices for another worker of a model: the one that fewest of them use.

        Each model counts for itself, as with TorchServe. Give it back with `release_group`.

        Returns:
            ``size`` device ids; none on the CPU.
        """
        groups = self.groups(device_type, device_ids, size)
        if not groups:
            return ()
        group = min(groups, key=lambda group: self._taken[model, group])
        self._taken[model, group] += 1
        return group

    def release_group(self, model: str, group: tuple[int, ...]) -> None:
        """The worker that had this group is gone for good."""
        if self._taken[model, group] > 0:
            self._taken[model, group] -= 1

    def _usable(self, device_type: str, device_ids: Sequence[int]) -> tuple[int, ...]:
        if device_type == "cpu" or self.gpus == 0:
            return ()
        if device_ids and self.has_all(device_ids):
            return tuple(device_ids)
        return tuple(range(self.gpus))
