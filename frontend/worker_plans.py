"""How the workers of a model version are to be started: environment, device, load order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from tsl.model_store import ModelVersion
from tsl.protocol.codec import encode
from tsl.protocol.frames import Load

from .busy_loop import busy_poll_us
from .config import ServerConfig
from .cpus import usable_cpus
from .dependencies.environments import PythonEnvironment
from .devices import DeviceAllocator
from .placement import Placement, Placer
from .pools import is_async
from .preload import find_preload, is_built_in
from .worker import WorkerPlan
from .worker_command import output_marks
from .worker_process import WorkerSpec

REPLY_OVERHEAD_BYTES: Final = 64 * 1024
"""Room for error texts beside the bodies of a reply frame."""


class WorkerPlanner:
    """Makes `WorkerPlan`s.

    Args:
        config: the server's configuration.
        environ: the server's environment, from which the workers' is derived.
        devices: hands out accelerators.
    """

    def __init__(
        self, config: ServerConfig, environ: Mapping[str, str], devices: DeviceAllocator
    ) -> None:
        self._config = config
        self._environ = environ
        self._devices = devices
        self._numbers = count(config.initial_worker_port)
        self._next_group = config.initial_distribution_port
        self._cpus = usable_cpus()
        self._placer = Placer(devices, environ, self._cpus)
        self.socket_path = ""

    @property
    def default_workers(self) -> int:
        """Workers of a model at start when nothing says how many: accelerators, else CPUs."""
        return self._devices.gpus or self._cpus

    def plan(
        self, version: ModelVersion, workers: int, environment: PythonEnvironment | None = None
    ) -> WorkerPlan:
        """Plan for one more worker.

        Args:
            version: what it serves.
            workers: how many workers the version is to have; the CPU threads are shared out.
            environment: packages of its own; None for the server's.
        """
        environment = environment or PythonEnvironment()
        config, model = self._config, version.config
        number = self._next_number(model.parallel_level)
        label = f"W-{number}-{version.name}_{version.version}"
        place = self._placer.place(version, number, workers)
        load = Load(
            model_name=version.name,
            model_dir=str(version.model_dir),
            handler=version.handler,
            envelope=config.service_envelope or "",
            batch_size=model.batch_size,
            gpu_id=place.gpu_id,
            limit_max_image_pixels=config.limit_max_image_pixels,
            max_response_bytes=config.max_response_size_bytes,
            decode_input=config.decode_input_request,
            metrics_config=str(config.metrics_config or ""),
            is_async=is_async(model),
            busy_poll_us=busy_poll_us(config.busy_poll_us, self._cpus),
        )
        may_fork = _may_fork(place, environment)
        share = _share_name(version) if may_fork else ""
        spec = partial(
            WorkerSpec,
            label=label,
            socket_path=self.socket_path,
            model_dir=str(version.model_dir),
            environ=worker_environ(
                self._environ, version, config, place.environ, environment.packages
            ),
            preload=find_preload(version.model_dir, version.handler),
            start=_start_mode(config.worker_start, model.worker_start) if may_fork else "spawn",
            share=share,
            load=b"".join(encode(load)) if share else b"",
            python=environment.python,
        )
        return WorkerPlan(
            number=number,
            label=label,
            load=load,
            max_reply_bytes=config.max_response_size_bytes * model.batch_size
            + REPLY_OVERHEAD_BYTES,
            startup_timeout_s=model.startup_timeout_s,
            retry_window_s=model.max_retry_timeout_s,
            spec=lambda worker_id, token: spec(worker_id=worker_id, token=token),
            group=place.group,
        )

    def cap(self, version: ModelVersion, low: int, high: int) -> tuple[int, int]:
        """Lower a number of workers to what there are accelerators for.

        Args:
            version: what they serve.
            low: at least so many.
            high: at most so many.

        Raises:
            NotEnoughDevices: there are not enough for one worker.
        """
        return self._placer.cap(version, low, high)

    def _next_number(self, level: int) -> int:
        """The number of a worker; parallel ones take one for each of their processes."""
        if not level:
            return next(self._numbers)
        number = self._next_group
        self._next_group += level
        return number


def worker_environ(
    environ: Mapping[str, str],
    version: ModelVersion,
    config: ServerConfig,
    added: Mapping[str, str],
    packages: str = "",
) -> dict[str, str]:
    """A worker's environment (handler contract, section 2).

    Args:
        environ: the server's own.
        version: the model; its folder and that of its handler go to ``PYTHONPATH``.
        config: ``blacklist_env_vars`` is applied last, so it can also hide what is added here.
        added: what the place of the worker asks for.
        packages: folder with packages of the model; behind its own folder on ``PYTHONPATH``.
    """
    result = {
        **environ,
        **added,
        "TS_DECODE_INPUT_REQUEST": str(config.decode_input_request).lower(),
        "TS_IPEX_ENABLE": str(config.ipex_enable).lower(),
        "TS_IPEX_GPU_ENABLE": str(config.ipex_gpu_enable).lower(),
        "TS_REQUEST_SEQUENCE_ID": config.ts_header_key_sequence_id,
        "TS_REQUEST_SEQUENCE_START": config.ts_header_key_sequence_start,
        "TS_REQUEST_SEQUENCE_END": config.ts_header_key_sequence_end,
        "PYTHONPATH": _python_path(environ.get("PYTHONPATH", ""), version, packages),
    }
    hidden = config.blacklist_env_vars
    if hidden is not None:
        result = {name: value for name, value in result.items() if not hidden.fullmatch(name)}
    return {**result, **output_marks(config)}


def _python_path(inherited: str, version: ModelVersion, packages: str) -> str:
    model_dir = version.model_dir
    entries = []
    module = version.handler.split(":")[0]
    if ":" in version.handler and "/" in module:
        entries.append(str(Path(module).parent))
    if inherited:
        entries.append(inherited)
    entries.append(str(model_dir.resolve()))
    if model_dir.is_symlink():
        entries.append(str(model_dir.parent))
    if packages:
        entries.append(packages)
    return os.pathsep.join(entries)


def share_name(version: ModelVersion) -> str:
    """Name under which the workers of a version share its model; unique among versions."""
    return f"{version.name}/{version.version}#{id(version):x}"


def _share_name(version: ModelVersion) -> str:
    """`share_name` if this version's workers are to share, else "".

    ``shareModel`` decides; without it the built-in handlers share, on the CPU: what they do while
    loading is known to survive a fork.
    """
    asked = version.config.share_model
    wanted = is_built_in(version.model_dir, version.handler) if asked is None else asked
    # The event loop of an asynchronous handler begins with loading, and must not be forked.
    return share_name(version) if wanted and not is_async(version.config) else ""


def _may_fork(place: Placement, environment: PythonEnvironment) -> bool:
    """Whether a worker may come from a process that has imported things already.

    Drivers of accelerators do not survive a fork. Ranks and packages of the model's own need an
    interpreter that knows of them from its beginning.
    """
    return place.gpu_id < 0 and place.group is None and environment == PythonEnvironment()


def _start_mode(server: str, model: str) -> str:
    return model if model != "auto" else server
