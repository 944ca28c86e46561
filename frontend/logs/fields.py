"""The logs by name, and the texts that set them up; no log is opened here.

Kept apart from `settings` because every command reads the configuration, and few need a log.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

ACCESS: Final = "access"
SERVER: Final = "server"
MODEL: Final = "model"
TS_METRICS: Final = "ts_metrics"
MODEL_METRICS: Final = "model_metrics"

FILES: Final = {
    ACCESS: "access_log.log",
    SERVER: "ts_log.log",
    MODEL: "model_log.log",
    TS_METRICS: "ts_metrics.log",
    MODEL_METRICS: "model_metrics.log",
}
"""The logs, and the names that TorchServe gives their files."""
LOGGERS: Final = {
    ACCESS: "ACCESS_LOG",
    MODEL: "MODEL_LOG",
    TS_METRICS: "TS_METRICS",
    MODEL_METRICS: "MODEL_METRICS",
}
"""What TorchServe's lines call them."""

OFF: Final = logging.CRITICAL + 10
LEVELS: Final = {
    "all": logging.DEBUG,
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "off": OFF,
}


def level_list(value: str) -> str:
    """Check ``log_levels``: ``LEVEL`` for all logs, or ``LOG=LEVEL`` for one, in a list.

    Raises:
        ValueError: says what was expected.
    """
    parse_levels(value)
    return value


def parse_levels(value: str) -> dict[str, int]:
    """Level by log, as numbers of `logging`; logs that are not named are missing."""
    levels: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        log, equals, level = (word.strip() for word in part.rpartition("="))
        number = LEVELS.get(level.lower())
        if number is None:
            msg = f"{level!r} is no level; expected one of {', '.join(LEVELS)}"
            raise ValueError(msg)
        for name in [_known(log)] if equals else FILES:
            levels[name] = number
    return levels


def file_list(value: str) -> str:
    """Check ``log_files``: a list of ``LOG=FILE``.

    Raises:
        ValueError: says what was expected.
    """
    parse_files(value)
    return value


def parse_files(value: str) -> dict[str, Path]:
    """File by log; logs that are not named are missing."""
    files: dict[str, Path] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        log, equals, file = (word.strip() for word in part.partition("="))
        if not equals or not file:
            msg = "expected LOG=FILE, several of them separated by commas"
            raise ValueError(msg)
        files[_known(log)] = Path(file)
    return files


def console_list(value: str) -> str:
    """Check ``log_console``: ``true``, ``false``, or a list of logs.

    Raises:
        ValueError: says what was expected.
    """
    parse_console(value)
    return value


def parse_console(value: str) -> frozenset[str]:
    """The logs that also go to stdout."""
    word = value.strip().lower()
    if word in ("true", "false"):
        return frozenset(FILES if word == "true" else ())
    return frozenset(_known(part.strip()) for part in value.split(",") if part.strip())


def _known(log: str) -> str:
    if log not in FILES:
        msg = f"{log!r} is no log; expected one of {', '.join(FILES)}"
        raise ValueError(msg)
    return log
