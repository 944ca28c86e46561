"""The settings of worker processes; a part of `ServerConfig`."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field; it is not a shared default value)

from __future__ import annotations

import re
from dataclasses import dataclass

from .config_fields import (
    boolean,
    choice,
    optional_pattern,
    optional_whole_number,
    setting,
    text,
    whole_number,
)
from .config_measuring import MeasuringConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig(MeasuringConfig):
    """How workers are started and what they get; see `ServerConfig`."""

    worker_start: str = setting(
        "worker_start",
        choice("auto", "fork", "spawn"),
        "auto",
        "How workers start: `fork` from a process that has loaded torch, `spawn` a fresh one, "
        "or `auto` for fork where that is safe.",
        own=True,
    )
    number_of_gpu: int | None = setting(
        "number_of_gpu",
        optional_whole_number(0),
        "",
        "GPUs to use at most; all that are found if not given.",
    )
    initial_worker_port: int = setting(
        "initial_worker_port", whole_number(0), "9000", "Worker ids count up from here."
    )
    initial_distribution_port: int = setting(
        "initial_distribution_port",
        whole_number(0, 65535),
        "29500",
        "Ids of workers of parallel models count up from here.",
    )
    blacklist_env_vars: re.Pattern[str] | None = setting(
        "blacklist_env_vars",
        optional_pattern,
        "",
        "Regular expression of the environment variables that workers do not get.",
    )
    decode_input_request: bool = setting(
        "decode_input_request", boolean, "true", "Decode text and JSON bodies for the handler."
    )
    limit_max_image_pixels: bool = setting(
        "limit_max_image_pixels", boolean, "true", "Keep Pillow's limit against image bombs."
    )
    cpu_launcher_enable: bool = setting(
        "cpu_launcher_enable", boolean, "false", "Start workers by `torch.backends.xeon.run_cpu`."
    )
    cpu_launcher_args: str = setting(
        "cpu_launcher_args", text, "", "Arguments of the CPU launcher."
    )
    ipex_enable: bool = setting(
        "ipex_enable", boolean, "false", "Hand `TS_IPEX_ENABLE` to workers."
    )
    ipex_gpu_enable: bool = setting(
        "ipex_gpu_enable", boolean, "false", "Hand `TS_IPEX_GPU_ENABLE` to workers."
    )
    debug: bool = setting(
        "debug", boolean, "false", "One worker per model, started by hand; no timeouts."
    )
    model_server_home: str = setting(
        "model_server_home",
        text,
        "",
        "Folder added to the workers' PYTHONPATH.",
        always_env=("TS_MODEL_SERVER_HOME",),
    )
    busy_poll_us: int = setting(
        "busy_poll_us",
        whole_number(0, 10_000),
        "300",
        "Microseconds for which front end and worker stay awake for what quick models and lone "
        "clients send at once; 0 for never. Without effect where there is one CPU.",
        own=True,
    )
