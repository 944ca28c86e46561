"""Where a worker runs: on which accelerators, in how many processes, with how many CPU threads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tsl.model_store import ModelVersion, Torchrun
from tsl.protocol.errors import NotEnoughDevices

from .devices import CPU, DeviceAllocator
from .group_plan import GroupPlan, group_threads

logger = logging.getLogger(__name__)

_PIPELINE: Final = "pp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a worker runs.

    Attributes:
        gpu_id: what the handler is told: the accelerator's number as its process sees it, or
            `CPU`.
        environ: what its environment says about it.
        group: its processes; None for one.
    """

    gpu_id: int
    environ: dict[str, str] = field(default_factory=dict)
    group: GroupPlan | None = None


class Placer:
    """Finds places for workers.

    Args:
        devices: hands out accelerators.
        environ: the server's environment.
        cpus: CPU threads that there are for workers.
    """

    def __init__(self, devices: DeviceAllocator, environ: Mapping[str, str], cpus: int) -> None:
        self._devices = devices
        self._environ = environ
        self._cpus = cpus

    def place(self, version: ModelVersion, number: int, workers: int) -> Placement:
        """A place for one more worker.

        Args:
            version: what it serves.
            number: the worker's number.
            workers: how many workers the version is to have; the CPU threads are shared out.
        """
        model = version.config
        kind, listed = model.device_type or "", model.device_ids or ()
        if not model.parallel_level:
            gpu_id = self._devices.next_device(_key(version), kind, listed)
            return Placement(gpu_id=gpu_id, environ=self._threads(workers))
        devices = self._devices.take_group(_key(version), kind, listed, model.parallel_level)
        # Such a worker sees no other devices than its own, and so counts them from 0.
        gpu_id = 0 if devices else CPU
        visible = self._devices.accelerators.visible(devices)
        if not model.has_ranks:
            return Placement(gpu_id=gpu_id, environ={**self._threads(workers), **visible})
        inherited = self._environ.get("OMP_NUM_THREADS")
        threads = group_threads(model.torchrun, inherited)
        return Placement(
            gpu_id=gpu_id,
            environ={"LOGLEVEL": "INFO", "OMP_NUM_THREADS": threads, **visible},
            group=self._group(version, devices, f"{version.name}_{number}"),
        )

    def cap(self, version: ModelVersion, low: int, high: int) -> tuple[int, int]:
        """Lower a number of workers to what there are accelerators for.

        Only workers that need several accelerators are limited so; others share them.

        Args:
            version: what they serve.
            low: at least so many.
            high: at most so many.

        Raises:
            NotEnoughDevices: there are not enough for one worker.
        """
        model = version.config
        kind, listed, level = model.device_type or "", model.device_ids or (), model.parallel_level
        if self._devices.is_on_cpu(kind, listed):
            return low, high
        if listed and not self._devices.has_all(listed):
            logger.warning(
                "%s: deviceIds is ignored, because not all of %s exist here", version.name, listed
            )
        if not level:
            return low, high
        room = len(self._devices.groups(kind, listed, level))
        if not room:
            msg = f"Model {version.name!r} needs {level} accelerators for each worker."
            raise NotEnoughDevices(
                msg, hint="Lower parallelLevel, or serve it with deviceType: cpu."
            )
        if high > room:
            logger.warning(
                "%s: %d workers at most, because each needs %d accelerators",
                version.name,
                room,
                level,
            )
        return min(low, room), min(high, room)

    def _threads(self, workers: int) -> dict[str, str]:
        if "OMP_NUM_THREADS" in self._environ:
            return {}
        return {"OMP_NUM_THREADS": str(max(self._cpus // max(workers, 1), 1))}

    def _group(self, version: ModelVersion, devices: tuple[int, ...], job: str) -> GroupPlan:
        model, key = version.config, _key(version)
        return GroupPlan(
            size=model.parallel_level,
            copies_batches=model.parallel_type != _PIPELINE,
            torchrun=model.torchrun or Torchrun(),
            job=job,
            answer_timeout_s=model.response_timeout_s,
            release=lambda: self._devices.release_group(key, devices),
        )


def _key(version: ModelVersion) -> str:
    return f"{version.name}/{version.version}"
