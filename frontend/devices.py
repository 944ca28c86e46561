"""Which accelerator a worker gets; the front end itself never touches one."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

logger = logging.getLogger(__name__)

CPU: Final = -1
"""Device id of a worker without accelerator."""
PROBE_TIMEOUT_S: Final = 10


def count_gpus(environ: Mapping[str, str], limit: int | None) -> int:
    """Accelerators on this machine.

    Args:
        environ: ``CUDA_VISIBLE_DEVICES`` in it counts before anything is asked.
        limit: ``number_of_gpu``, None when not configured.
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    found = _ask_driver() if visible is None else _count_listed(visible)
    return found if limit is None else min(found, limit)


def _count_listed(visible: str) -> int:
    """Devices in ``CUDA_VISIBLE_DEVICES``; as the driver reads it, -1 ends the list."""
    items = [item.strip() for item in visible.split(",")]
    if "-1" in items:
        items = items[: items.index("-1")]
    return len([item for item in items if item])


def _ask_driver() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        done = subprocess.run(  # noqa: S603 - a path that `which` found, no arguments from outside
            [tool, "--list-gpus"], capture_output=True, timeout=PROBE_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("nvidia-smi does not answer, serving on the CPU: %s", error)
        return 0
    return sum(line.startswith(b"GPU ") for line in done.stdout.splitlines())


class DeviceAllocator:
    """Hands out devices round-robin, as TorchServe: one counter for the whole server.

    Args:
        gpus: number of accelerators.
    """

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self._last = 0
        self._last_listed: dict[str, int] = {}

    def next_device(self, model: str, device_type: str, device_ids: Sequence[int] = ()) -> int:
        """Device id for another worker of a model.

        Args:
            model: name and version; models with a device list count for themselves.
            device_type: ``cpu`` keeps the worker off the accelerators; anything else does not.
            device_ids: the model's own list; ignored as a whole when an id does not exist.

        Returns:
            0 to ``gpus - 1``, or `CPU`.
        """
        if device_type == "cpu" or self.gpus == 0:
            return CPU
        if device_ids and all(0 <= number < self.gpus for number in device_ids):
            turn = self._last_listed.get(model, -1) + 1
            self._last_listed[model] = turn
            return device_ids[turn % len(device_ids)]
        self._last += 1  # counted first: on two devices the first worker gets device 1
        return self._last % self.gpus
