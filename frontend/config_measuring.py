"""The settings of metrics and logs; a part of `ServerConfig`."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field; it is not a shared default value)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .config_fields import boolean, choice, optional_path, path, setting, text, whole_number
from .logs.fields import console_list, file_list, level_list


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringConfig:
    """What is measured, and where it and the logs go; see `ServerConfig`."""

    # -- metrics
    metrics_mode: str = setting(
        "metrics_mode",
        choice("log", "prometheus", "legacy", tolerant=True, relaxed=True),
        "log",
        "`log` writes metrics to log files, `prometheus` offers them at `/metrics`, `legacy` "
        "offers the three `ts_*` metrics there and logs the others.",
    )
    metrics_config: Path | None = setting(
        "metrics_config",
        optional_path,
        "",
        "Definition of the metrics; the built-in one if not given.",
    )
    model_metrics_auto_detect: bool = setting(
        "model_metrics_auto_detect",
        boolean,
        "false",
        "Accept metrics of handlers that the definition does not name.",
    )
    disable_system_metrics: bool = setting(
        "disable_system_metrics", boolean, "false", "Do not measure CPU, memory and disk."
    )
    system_metrics_cmd: str = setting(
        "system_metrics_cmd",
        text,
        "",
        "Command that prints system metrics; built in if not given.",
        env=False,
    )
    metric_time_interval_s: int = setting(
        "metric_time_interval",
        whole_number(1),
        "60",
        "Seconds between two system measurements.",
        env=False,
    )

    # -- logs
    log_format: str = setting(
        "log_format",
        choice("text", "json"),
        "text",
        "`text` writes TorchServe's formats, `json` one object per line.",
        own=True,
    )
    log_levels: str = setting(
        "log_levels",
        level_list,
        "",
        "Levels: one for all logs, or a list of `LOG=LEVEL`. Logs: access, server, model, "
        "ts_metrics, model_metrics; levels: debug, info, warn, error, off.",
        own=True,
    )
    log_files: str = setting(
        "log_files",
        file_list,
        "",
        "Names of the files, a list of `LOG=FILE`; relative to the folder of the logs.",
        own=True,
    )
    log_console: str = setting(
        "log_console",
        console_list,
        "true",
        "Which logs also go to stdout: `true` for all, `false` for none, or a list of logs.",
        own=True,
    )
    log_max_size_bytes: int = setting(
        "log_max_size",
        whole_number(0),
        "104857600",
        "Bytes at which a log file is rotated; 0 for never.",
        own=True,
    )
    log_kept_files: int = setting(
        "log_kept_files", whole_number(0, 1000), "5", "Rotated files to keep, per log.", own=True
    )
    log_request_ids: bool = setting(
        "log_request_ids",
        boolean,
        "false",
        "Put the request's id behind each line of the access log, and before what workers print meanwhile.",
        own=True,
    )

    # -- where
    log_location: Path = setting(
        "log_location",
        path,
        "logs",
        "Folder of the logs.",
        env=False,
        always_env=("LOG_LOCATION",),
        own=True,
    )
    metrics_location: Path = setting(
        "metrics_location",
        path,
        "logs",
        "Folder of the metric logs.",
        env=False,
        always_env=("METRICS_LOCATION",),
        own=True,
    )
